/** The links that a client keeps to the relays that control offers. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Logger, Schedule, Scope, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import type { Identity } from "../../../src/certs/Identity.ts"
import type { Carrier } from "../../../src/domain/Carrier.ts"
import type { SocketAddress } from "../../../src/domain/SocketAddress.ts"
import type { RelayOffer } from "../../../src/protocol/ClientControl.ts"
import { makeRelayLinks, type RelayLink } from "../../../src/relay/client/RelayLinks.ts"
import { eventually, HERE, makeWorld, makeWorldWithRelay, type World } from "../World.ts"

type Offers = SubscriptionRef.SubscriptionRef<ReadonlyArray<RelayOffer>>

/** A client with links, and with offers that come from control unless the test makes them. */
const client = Effect.fnUntraced(function* (world: World, offered?: (real: RelayOffer) => ReadonlyArray<RelayOffer>) {
  const identity = yield* world.client
  const real = yield* world.offersFor(identity.leaf.raw, "source")
  let offers: Offers = real
  if (offered !== undefined) offers = yield* SubscriptionRef.make(offered(yield* world.theOffer(real)))
  return { real, offers, ...(yield* clientOf(world, identity, offers)) }
})

/** A client with links to what is in a list. */
const clientOf = Effect.fnUntraced(function* (world: World, identity: Identity, offers: Offers) {
  const endpoint = yield* world.bind({ address: HERE })
  const { scope, close } = yield* world.ownScope
  const begun: Array<RelayLink> = []
  const { links, doubted } = yield* makeRelayLinks({
    endpoint,
    role: "source",
    carriers: endpoint.carriers,
    identity,
    offers,
    metadata: "",
    buildVersion: "test",
    handshakeTimeout: Duration.seconds(10),
    onLink: (link) =>
      Effect.andThen(
        Effect.sync(() => begun.push(link)),
        Effect.never
      )
  }).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide(Logger.layer([])))
  return {
    links,
    doubted,
    endpoint,
    /** Links in the order they came up. */
    begun,
    close,
    live: (count: number) => eventually(SubscriptionRef.get(links), (all) => all.length === count)
  }
})

/** An address at which nobody answers. */
const nowhere = (world: World): SocketAddress =>
  world.network.link(world.at.relay, { delayMillis: () => 0, cut: () => true })

describe("the links to relays", () => {
  it.live("come up, are live while they are, and end with their Scope", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      yield* world.startRelay()
      const one = yield* client(world)
      const [link] = yield* one.live(1)
      assert.deepInclude(link, { state: "Open" })
      assert.strictEqual(link!.offer.id, (yield* world.theOffer(one.real)).id)
      yield* eventually(
        Effect.sync(() => one.begun.length),
        (count) => count === 1
      )
      assert.strictEqual(one.endpoint.counts().connections, 1)
      yield* one.close
      assert.deepEqual(one.endpoint.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
      assert.deepEqual(yield* SubscriptionRef.get(one.links), [])
    }).pipe(Effect.scoped)
  )

  it.live("come back when the relay was restarted, with what control offers then", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const relay = yield* world.startRelay()
      const one = yield* client(world)
      yield* one.live(1)
      yield* relay.stop
      yield* one.live(0)
      yield* world.startRelay()
      const [link] = yield* one.live(1)
      assert.strictEqual(link!.offer.id, (yield* world.theOffer(one.real)).id)
    }).pipe(Effect.scoped)
  )

  it.live("are dialed with a new offer at once, also while the old one is still being tried", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      yield* world.startRelay()
      const one = yield* client(world, (real) => [{ ...real, addresses: [nowhere(world)] }])
      const real = yield* world.theOffer(one.real)
      // Its address does not answer for ten seconds: nobody waits for that.
      yield* Effect.promise(() => new Promise(setImmediate))
      const began = performance.now()
      yield* SubscriptionRef.set(one.offers, [{ ...real, authentication: new Uint8Array(80) }])
      yield* Effect.promise(() => new Promise(setImmediate))
      yield* SubscriptionRef.set(one.offers, [real])
      yield* one.live(1)
      assert.isBelow(performance.now() - began, 5_000)
    }).pipe(Effect.scoped)
  )

  it.live("are given up while they are tried when the relay is not offered any more", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      yield* world.startRelay()
      const one = yield* client(world, (real) => [{ ...real, addresses: [nowhere(world)] }])
      yield* SubscriptionRef.set(one.offers, [])
      yield* eventually(
        Effect.sync(() => one.endpoint.counts().connections),
        (count) => count === 0
      )
      yield* SubscriptionRef.set(one.offers, [yield* world.theOffer(one.real)])
      yield* one.live(1)
    }).pipe(Effect.scoped)
  )

  it.live("use the first address that answers", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      yield* world.startRelay()
      const one = yield* client(world, (real) => [
        { ...real, addresses: [nowhere(world), { host: "no-such-host.invalid", port: 1 }, ...real.addresses] }
      ])
      const [link] = yield* one.live(1)
      assert.deepEqual(link!.connection.remoteAddress(), world.at.relay)
      yield* eventually(
        Effect.sync(() => one.endpoint.counts().connections),
        (count) => count === 1
      )
    }).pipe(Effect.scoped)
  )

  it.live("stay when control forgets the relay, or is gone, and are not dialed again when they end then", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const control = yield* world.startControl()
      const relay = yield* world.startRelay()
      const one = yield* client(world, (real) => [real])
      const [link] = yield* one.live(1)
      yield* control.stop
      yield* SubscriptionRef.set(one.offers, [])
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.isUndefined(link!.connection.ended())
      assert.deepEqual(yield* one.live(1), [link!])
      yield* relay.stop
      yield* one.live(0)
      assert.strictEqual(one.endpoint.counts().connections, 0)
      yield* world.startControl()
      yield* world.startRelay()
      yield* SubscriptionRef.set(one.offers, [yield* eventuallyOffered(one.real, link!.offer.id)])
      yield* one.live(1)
      assert.strictEqual(one.begun.length, 2)
    }).pipe(Effect.scoped)
  )

  it.live("do not take a relay for another one", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      yield* world.startRelay()
      const { leaf } = yield* world.client
      const one = yield* client(world, (real) => [{ ...real, serverCertificate: leaf.raw }])
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.deepEqual(yield* one.live(0), [])
      yield* SubscriptionRef.set(one.offers, [yield* world.theOffer(one.real)])
      yield* one.live(1)
    }).pipe(Effect.scoped)
  )

  it.effect(
    "are suspect when they are doubted or silent, while another one is dialed, and end when they stay silent",
    () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.now())
        const world = yield* makeWorld
        yield* TestClock.withLive(world.startControl())
        yield* TestClock.withLive(world.startRelay())
        const identity = yield* world.client
        const real = yield* TestClock.withLive(
          Effect.flatMap(world.offersFor(identity.leaf.raw, "source"), world.theOffer)
        )
        let cut = false
        const address = world.network.link(world.at.relay, { delayMillis: () => 0, cut: () => cut })
        const offers = yield* SubscriptionRef.make<ReadonlyArray<RelayOffer>>([{ ...real, addresses: [address] }])
        const one = yield* clientOf(world, identity, offers)
        const state = Effect.map(SubscriptionRef.get(one.links), (all) => all.map(({ id, state }) => [id, state]))
        yield* TestClock.withLive(one.live(1))
        const [link] = one.begun
        const becomes = (holds: (states: Effect.Success<typeof state>) => boolean) => asTimePasses(state, holds)
        // A link that carries something is not closed for a newer one.
        const stream = yield* link!.connection.open
        stream.write("a")
        yield* one.doubted(link!.id)
        assert.deepEqual(yield* state, [[link!.id, "Suspect"]])
        const both = yield* becomes((all) => all.length === 2 && all.every(([, state]) => state === "Open"))
        assert.strictEqual(both[0]![0], link!.id)
        cut = true
        yield* becomes((all) => all.every(([, state]) => state === "Suspect"))
        cut = false
        const back = yield* becomes(([first]) => first?.[1] === "Open")
        assert.strictEqual(back[0]![0], link!.id)
        cut = true
        yield* becomes((all) => all.length === 0)
        cut = false
        const [anew] = yield* becomes(([first]) => first?.[1] === "Open")
        assert.isFalse(both.some(([id]) => id === anew![0]))
      }).pipe(Effect.scoped)
  )

  /** A client on a clock that the test moves, whose link to the relay lets a carrier through or not. */
  const onTestClock = Effect.fnUntraced(function* (delayMillis: number, cut: (carrier: Carrier) => boolean) {
    const world = yield* TestClock.withLive(makeWorldWithRelay({ network: { carriers: ["quic", "tcp"] } }))
    const identity = yield* world.client
    const real = yield* TestClock.withLive(Effect.flatMap(world.offersFor(identity.leaf.raw, "source"), world.theOffer))
    const address = world.network.link(world.at.relay, { delayMillis: () => delayMillis, cut })
    const offers = yield* SubscriptionRef.make<ReadonlyArray<RelayOffer>>([{ ...real, addresses: [address] }])
    const one = yield* clientOf(world, identity, offers)
    const carriers = Effect.map(SubscriptionRef.get(one.links), (all) =>
      all.map(({ connection }) => connection.carrier)
    )
    return {
      one,
      offers,
      become: (...expected: ReadonlyArray<Carrier>) => asTimePasses(carriers, (now) => now.join() === expected.join())
    }
  })

  it.effect("go over to TCP on a local link, and close the other one when it carries nothing", () =>
    Effect.gen(function* () {
      const { one, become } = yield* onTestClock(0, () => false)
      yield* become("quic")
      const [first] = one.begun
      const stream = yield* first!.connection.open
      stream.write("a")
      yield* become("quic", "tcp")
      // Two more probes.
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(first!.connection.ended())
      stream.destroy()
      yield* become("tcp")
      assert.deepInclude(first!.connection.ended(), { _tag: "Closed", by: "local", code: 302 })
    }).pipe(Effect.scoped)
  )

  it.effect("get through over TCP where QUIC does not, and go over to QUIC when it does again", () =>
    Effect.gen(function* () {
      let blocked = true
      const { become } = yield* onTestClock(8, (carrier) => blocked && carrier === "quic")
      yield* become("tcp")
      blocked = false
      yield* become("quic")
    }).pipe(Effect.scoped)
  )

  it.effect("use what both ends may use, and nothing else", () =>
    Effect.gen(function* () {
      const { offers, become } = yield* onTestClock(0, () => false)
      yield* SubscriptionRef.update(offers, (all) => all.map((offer) => ({ ...offer, carriers: ["tcp"] as const })))
      yield* become("tcp")
      for (let second = 0; second < 20; second++) yield* become("tcp")
    }).pipe(Effect.scoped)
  )
})

/** Lets time pass until it holds. After each second what is on a link, which has timers of its own, may arrive. */
const asTimePasses = <A>(look: Effect.Effect<A>, holds: (value: A) => boolean) =>
  Effect.andThen(
    TestClock.adjust(1_000),
    look.pipe(
      Effect.filterOrFail(holds, (value) => `it is ${JSON.stringify(value)}`),
      Effect.retry({ schedule: Schedule.spaced("2 millis"), times: 25 }),
      TestClock.withLive
    )
  ).pipe(Effect.retry({ times: 60 }))

/** Waits for an offer of another relay than this one. */
const eventuallyOffered = (offers: Offers, not: string) =>
  eventually(SubscriptionRef.get(offers), ([offer]) => offer !== undefined && offer.id !== not).pipe(
    Effect.map(([offer]) => offer!)
  )
