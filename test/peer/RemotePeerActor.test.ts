import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Logger, Option, Scope, Stream, SubscriptionRef } from "effect"
import { issueClient, issueServer } from "../../src/certs/issue.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { answerLiveness, checkLiveness } from "../../src/peer/DirectLink.ts"
import type { OpenPath } from "../../src/peer/OpenPath.ts"
import { makeRemotePeerActor } from "../../src/peer/RemotePeerActor.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { type Connection, serve, Transport } from "../../src/transport/Transport.ts"
import type { Closed, Lost } from "../../src/transport/TransportError.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }

/** A remote client that takes every link, and the actor that is to reach it. */
const world = (
  answer: (connection: Connection) => Effect.Effect<unknown> = (link) => Effect.ignore(answerLiveness(link))
) =>
  Effect.gen(function* () {
    const network = new Memory.MemoryNetwork()
    const transport = yield* Effect.provide(Transport, Memory.layer(network))
    const [own, far] = [yield* transport.bind({ address: HERE }), yield* transport.bind({ address: HERE })]
    const [identity, server] = [yield* issueClient, yield* issueServer(["peer.test"])]
    const accepted: Array<Connection> = []
    const listener = yield* far.listen({ protocols: Alpn.direct, identity: server, trust: Trust.anyone })
    const welcome = (connection: Connection) =>
      Effect.andThen(
        Effect.suspend(() => {
          accepted.push(connection)
          return answer(connection)
        }),
        Effect.asVoid(connection.closed)
      )
    yield* Effect.forkScoped(serve(listener, welcome))

    const paths = yield* SubscriptionRef.make<ReadonlyArray<OpenPath>>([])
    const scope = yield* Scope.fork(yield* Effect.scope)
    const actor = yield* makeRemotePeerActor({
      peerId: "far",
      listedAs: "far",
      name: "web" as EndpointName,
      role: "source",
      endpoint: own,
      carriers: own.carriers,
      identity,
      handshakeTimeout: Duration.seconds(2),
      onConnection: () => Effect.never,
      onPaths: (now) => SubscriptionRef.set(paths, now)
    }).pipe(Effect.provideService(Scope.Scope, scope))

    const list = (...addresses: ReadonlyArray<typeof HERE>) =>
      actor.listed({
        id: "far",
        metadata: "",
        peer: {
          directs: addresses,
          serverCertificate: server.leaf.raw,
          clientCertificate: identity.leaf.raw,
          relayIds: []
        }
      })
    const until = (reached: (paths: ReadonlyArray<OpenPath>) => boolean) =>
      SubscriptionRef.changes(paths).pipe(
        Stream.filter(reached),
        Stream.runHead,
        Effect.map(Option.getOrThrow),
        Effect.timeout("8 seconds")
      )
    return { network, own, far, identity, server, accepted, actor, list, until, stop: Scope.close(scope, Exit.void) }
  })

const open = (paths: ReadonlyArray<OpenPath>) => paths.filter(({ state }) => state === "Open")

layer(Logger.layer([]), { excludeTestServices: true })("the actor of a remote peer", (it) => {
  it.effect("dials a peer that is listed, and again when the link is closed", () =>
    Effect.gen(function* () {
      const { list, until, far, accepted } = yield* world()
      yield* list(far.address)
      const [first] = yield* until((paths) => open(paths).length === 1)
      assert.strictEqual(first?.direction, "outgoing")
      yield* accepted[0]!.close(0, "")
      const [second] = yield* until((paths) => paths.some(({ id }) => id !== first?.id))
      assert.notStrictEqual(second?.id, first?.id)
    })
  )

  it.effect("suspects a link that has gone silent within some seconds, and has another one by then", () =>
    Effect.gen(function* () {
      const { network, list, until, far } = yield* world()
      let cut = false
      const link = network.link(far.address, { delayMillis: () => 0, cut: () => cut })
      yield* list(link)
      const [first] = yield* until((paths) => open(paths).length === 1)
      cut = true
      yield* list(link, far.address)
      const startedAt = performance.now()
      const paths = yield* until((paths) => open(paths).some(({ id }) => id !== first?.id))
      assert.isBelow(performance.now() - startedAt, 6_000)
      assert.strictEqual(paths.find(({ id }) => id === first?.id)?.state, "Suspect")
    })
  )

  it.effect("looks for another link at once when a user hears nothing", () =>
    Effect.gen(function* () {
      const { list, until, far } = yield* world()
      yield* list(far.address)
      const [first] = yield* until((paths) => open(paths).length === 1)
      const startedAt = performance.now()
      yield* first!.doubted
      yield* until((paths) => open(paths).some(({ id }) => id !== first?.id))
      // Earlier than the next regular probe would find out.
      assert.isBelow(performance.now() - startedAt, 2_000)
    })
  )

  it.effect("counts the streams that are open on a path", () =>
    Effect.gen(function* () {
      const { list, until, far } = yield* world()
      yield* list(far.address)
      const [path] = yield* until((paths) => open(paths).length === 1)
      const stream = yield* path!.open
      assert.strictEqual(path!.streams(), 1)
      stream.destroy()
      yield* Effect.promise(() => new Promise((resolve) => stream.once("close", resolve)))
      assert.strictEqual(path!.streams(), 0)
    })
  )

  it.effect("keeps the link of a peer that control has forgotten, and is over when it is closed", () =>
    Effect.gen(function* () {
      const { list, until, far, accepted, actor } = yield* world()
      yield* list(far.address)
      yield* until((paths) => open(paths).length === 1)
      yield* actor.unlisted({ replaced: false })
      const stream = yield* (yield* until((paths) => open(paths).length === 1))[0]!.open
      stream.destroy()
      const over = yield* Effect.forkChild(actor.ended)
      yield* accepted[0]!.close(0, "")
      yield* Effect.timeout(Fiber.join(over), "5 seconds")
    })
  )

  it.effect("closes every link when its endpoint ends, also those that came in, and leaves nothing behind", () =>
    Effect.gen(function* () {
      const { list, until, own, far, accepted, actor, identity, server, stop } = yield* world()
      yield* list(far.address)
      const listener = yield* own.listen({ protocols: Alpn.direct, identity: server, trust: Trust.anyone })
      yield* Effect.forkScoped(serve(listener, actor.accept))
      const dialed = yield* far.dial({
        address: own.address,
        protocols: Alpn.direct,
        identity,
        trust: Trust.anyone,
        timeout: "2 seconds"
      })
      yield* checkLiveness(dialed)
      yield* until((paths) => new Set(open(paths).map(({ direction }) => direction)).size === 2)
      yield* stop
      for (const link of [dialed, accepted[0]!]) yield* Effect.timeout(link.closed, "2 seconds")
      assert.include(own.counts(), { connections: 0, streams: 0, timers: 0 })
    })
  )

  it.effect("does not take a link whose peer does not answer its check, and says so with code 2", () =>
    Effect.gen(function* () {
      const closed = yield* Deferred.make<Closed | Lost>()
      const { list, far } = yield* world((connection) =>
        connection.accept.pipe(
          Effect.flatMap((stream) => Effect.sync(() => stream.end("garbage"))),
          Effect.ignore,
          Effect.andThen(connection.closed),
          Effect.flatMap((why) => Deferred.succeed(closed, why))
        )
      )
      yield* list(far.address)
      const why = yield* Effect.timeout(Deferred.await(closed), "2 seconds")
      assert.strictEqual(why._tag === "Closed" ? why.code : undefined, ErrorCode.ConnectionCheckFailed)
    })
  )
})
