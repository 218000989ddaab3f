/** A client and a router over the transport in memory, on a clock that only the test moves. */
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Clock, type Duration, Effect, Exit, Fiber, Logger, References, Scope, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import type { SocketAddress } from "../../../src/domain/SocketAddress.ts"
import { mapPorts } from "../../../src/peer/natpmp/mapPorts.ts"
import { type FindUplink, RoutesUnknown } from "../../../src/peer/natpmp/Uplink.ts"
import * as Memory from "../../../src/transport/memory/Memory.ts"
import { Transport } from "../../../src/transport/Transport.ts"
import { answerTo, type Router } from "./router.ts"

const CLIENT = { host: "192.168.1.23", port: 19_192 }
const GATEWAY = { host: "192.168.1.1", port: 5_351 }
const STRANGER = { host: "192.168.1.66", port: 6_666 }
const uplink = { address: CLIENT.host, gateway: GATEWAY }

/** What a request asks for, shortly. */
const named = (bytes: Uint8Array) => {
  if (bytes.length === 2) return "address"
  const request = Buffer.from(bytes)
  const what = request.readUInt32BE(8) === 0 ? "end" : "map"
  return `${what} ${request[1] === 1 ? "udp" : "tcp"} ${request.readUInt16BE(4)} as ${request.readUInt16BE(6)}`
}

const world = Effect.fnUntraced(function* (found: FindUplink = Effect.succeed(uplink)) {
  const transport = Memory.layer(new Memory.MemoryNetwork(), { carriers: ["quic", "tcp"] })
  const bind = (address: SocketAddress) =>
    Effect.provide(
      Transport.use(({ bind }) => bind({ address })),
      transport
    )
  const [endpoint, gateway, stranger] = [yield* bind(CLIENT), yield* bind(GATEWAY), yield* bind(STRANGER)]
  const asked: Array<string> = []
  let router: Partial<Router> | "silent" = {}
  yield* Effect.gen(function* () {
    const { from, bytes } = yield* gateway.datagrams.receive
    asked.push(named(bytes))
    if (router === "silent") return
    const epochSeconds = Math.floor((yield* Clock.currentTimeMillis) / 1_000)
    const answer = answerTo(bytes, {
      host: "203.0.113.7",
      epochSeconds,
      grant: (_, __, wished) => wished || 40_000,
      ...router
    })
    if (answer !== undefined) yield* gateway.datagrams.send(from, answer)
  }).pipe(Effect.forever, Effect.forkScoped)

  const events: Array<string> = []
  const log = Logger.make<unknown, void>(({ message, fiber }) => {
    events.push(`${message} ${Object.values(fiber.getRef(References.CurrentLogAnnotations)).join(" ")}`)
  })
  const scope = yield* Scope.fork(yield* Effect.scope)
  let looks = 0
  const findUplink = Effect.suspend(() => {
    looks++
    return found
  })
  let addresses = ["192.168.1.23"]
  const interfaces = () => addresses.map((address) => ({ address, cidr: null, internal: false }))
  const start = (bound: SocketAddress = endpoint.address) =>
    mapPorts({ endpoint: { ...endpoint, address: bound }, findUplink, interfaces }).pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.provide(Logger.layer([log]))
    )
  return {
    start,
    asked,
    events,
    gateway,
    stranger,
    looks: () => looks,
    behave: (change: Partial<Router> | "silent") => {
      router = change
    },
    readdress: (...now: ReadonlyArray<string>) => {
      addresses = [...now]
    },
    /** As programs end: nothing interrupts it. */
    leave: Effect.uninterruptible(Scope.close(scope, Exit.void))
  }
})

/** Time for all questions of a round, which are answered one after the other; no question is repeated in it. */
const settled = Effect.repeat(TestClock.adjust("1 millis"), { times: 20 })
const pass = (duration: Duration.Input) => Effect.andThen(TestClock.adjust(duration), settled)
const FIRST_ROUND = ["address", "map udp 19192 as 0", "map tcp 19192 as 40000"]
const BOTH = { udp: { host: "203.0.113.7", port: 40_000 }, tcp: { host: "203.0.113.7", port: 40_000 } }

describe("the port of a client", () => {
  it.effect("is mapped for both protocols, told, logged once, and renewed at half of its lifetime", () =>
    Effect.gen(function* () {
      const { start, asked, events } = yield* world()
      const mapped = yield* start()
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), {})
      yield* settled
      assert.deepStrictEqual(asked, FIRST_ROUND)
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), BOTH)
      yield* pass("300 seconds")
      assert.deepStrictEqual(asked.slice(3), ["address", "map udp 19192 as 40000", "map tcp 19192 as 40000"])
      yield* pass("1 hour")
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), BOTH)
      assert.deepStrictEqual(events, [
        "portmap.open udp 203.0.113.7:40000 600",
        "portmap.open tcp 203.0.113.7:40000 600"
      ])
    })
  )

  it.effect("is mapped all the same when strangers answer, and when the router sends something else", () =>
    Effect.gen(function* () {
      const { start, asked, behave, gateway, stranger } = yield* world()
      behave("silent")
      const mapped = yield* start()
      yield* settled
      const lie = answerTo(Uint8Array.of(0, 0), { host: "198.51.100.66", epochSeconds: 0, grant: () => 1 })!
      yield* stranger.datagrams.send(CLIENT, lie)
      yield* gateway.datagrams.send(CLIENT, lie.subarray(0, 11))
      yield* gateway.datagrams.send(CLIENT, Uint8Array.of())
      yield* gateway.datagrams.send(CLIENT, Uint8Array.of(0, 0))
      behave({})
      yield* pass("250 millis")
      assert.deepStrictEqual(asked, ["address", ...FIRST_ROUND])
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), BOTH)
    })
  )

  it.effect("is not told any more when the router does not allow it any more", () =>
    Effect.gen(function* () {
      const { start, events, behave } = yield* world()
      const mapped = yield* start()
      yield* settled
      behave({ grant: () => undefined })
      yield* pass("300 seconds")
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), {})
      const reason = "the router does not allow it; switch NAT-PMP on in its settings"
      assert.deepStrictEqual(events.slice(2), [`portmap.lost udp ${reason}`, `portmap.lost tcp ${reason}`])
    })
  )

  it.effect("follows the way out, which is looked for once a minute while the addresses of this host stay", () =>
    Effect.gen(function* () {
      let found: typeof uplink | undefined = uplink
      const { start, looks, asked } = yield* world(Effect.sync(() => found))
      const mapped = yield* start()
      yield* settled
      found = undefined
      yield* pass("58 seconds")
      assert.strictEqual(looks(), 1)
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), BOTH)
      yield* pass("2 seconds")
      assert.strictEqual(looks(), 2)
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), {})
      found = uplink
      yield* pass("60 seconds")
      assert.deepStrictEqual(asked, [...FIRST_ROUND, ...FIRST_ROUND])
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), BOTH)
    })
  )

  it.effect("follows the way out within ten seconds of a change of the addresses of this host", () =>
    Effect.gen(function* () {
      let found: typeof uplink | undefined = uplink
      const { start, readdress } = yield* world(Effect.sync(() => found))
      const mapped = yield* start()
      yield* settled
      found = undefined
      readdress("10.0.0.5")
      yield* pass("10 seconds")
      assert.deepStrictEqual(yield* SubscriptionRef.get(mapped), {})
    })
  )

  it.effect("is left alone where the routes cannot be told, with one line that says why", () =>
    Effect.gen(function* () {
      const { start, looks, asked, events } = yield* world(Effect.fail(new RoutesUnknown({ detail: "no routes" })))
      yield* start()
      yield* pass("1 hour")
      assert.deepStrictEqual([asked, looks()], [[], 1])
      assert.deepStrictEqual(events, [
        "portmap.off the router of this host cannot be told: no routes; forward the port by hand if it is needed"
      ])
    })
  )

  it.effect("is forgotten, and the router not heard any more, when the routes cannot be told later", () =>
    Effect.gen(function* () {
      let found: FindUplink = Effect.succeed(uplink)
      const { start, readdress } = yield* world(Effect.suspend(() => found))
      const hears = () => process.getActiveResourcesInfo().includes("UDPWrap")
      const mapped = yield* start()
      yield* settled
      assert.deepStrictEqual([yield* SubscriptionRef.get(mapped), hears()], [BOTH, true])
      found = Effect.fail(new RoutesUnknown({ detail: "no routes" }))
      readdress("10.0.0.5")
      yield* pass("10 seconds")
      // A handle is closed some turns after its socket.
      yield* Effect.promise(async () => {
        for (let turn = 0; turn < 10 && hears(); turn++) await setImmediate()
      })
      assert.deepStrictEqual([yield* SubscriptionRef.get(mapped), hears()], [{}, false])
    })
  )

  for (const [host, mapped] of [
    ["127.0.0.1", false],
    ["192.168.2.23", false],
    ["fd00::23", false],
    ["192.168.1.23", true],
    ["0.0.0.0", true],
    ["::", true]
  ] as const) {
    it.effect(`is ${mapped ? "" : "not "}mapped when the socket is bound to ${host}`, () =>
      Effect.gen(function* () {
        const { start, asked } = yield* world()
        yield* start({ ...CLIENT, host })
        yield* pass("10 minutes")
        assert.strictEqual(asked.length > 0, mapped)
      })
    )
  }
})

describe("leaving", () => {
  it.effect("ends the mappings, and is over when the router has said so", () =>
    Effect.gen(function* () {
      const { start, asked, leave } = yield* world()
      yield* start()
      yield* settled
      yield* leave
      assert.deepStrictEqual(asked.slice(3), ["end udp 19192 as 0", "end tcp 19192 as 0"])
    })
  )

  it.effect("does not wait longer than 100 ms for the router", () =>
    Effect.gen(function* () {
      const { start, asked, behave, leave } = yield* world()
      yield* start()
      yield* settled
      behave("silent")
      const leaving = yield* Effect.forkChild(leave, { startImmediately: true })
      yield* TestClock.adjust("99 millis")
      assert.isUndefined(leaving.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(leaving)
      assert.deepStrictEqual(asked.slice(3), ["end udp 19192 as 0", "end tcp 19192 as 0"])
    })
  )

  it.effect("asks for nothing when nothing was mapped", () =>
    Effect.gen(function* () {
      const { start, asked, behave, leave } = yield* world()
      behave("silent")
      yield* start()
      yield* settled
      yield* leave
      assert.deepStrictEqual(asked, ["address"])
    })
  )
})
