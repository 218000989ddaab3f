/** QUIC and TCP side by side on one port number. What each of them does is in the compliance suite. */
import dgram from "node:dgram"
import { createServer } from "node:net"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { issueClient, issueServer } from "../../src/certs/issue.ts"
import type { Carrier, TransportChoice } from "../../src/domain/Carrier.ts"
import { layer } from "../../src/transport/Network.ts"
import { loadNative, type NativeConfig } from "../../src/transport/quic/internal/native.ts"
import { type BindOptions, type Endpoint, Transport } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }
const NOTHING = { connections: 0, streams: 0, timers: 0, listeners: 0 }

const identities = Effect.runSync(Effect.cached(Effect.all([issueServer(["one.test"]), issueClient])))

const bind = (transport: TransportChoice = "auto", address = HERE, admits?: BindOptions["admits"]) =>
  Effect.flatMap(Transport, (one) => one.bind({ address, admits })).pipe(Effect.provide(layer({ transport })))

const listen = Effect.fnUntraced(function* (endpoint: Endpoint) {
  const [identity] = yield* identities
  return yield* endpoint.listen({ protocols: ["test/1"], identity, trust: Trust.expected(() => true) })
})

const dial = Effect.fnUntraced(function* (from: Endpoint, to: Endpoint, carrier?: Carrier) {
  const [server, identity] = yield* identities
  const trust = Trust.pinned(server.leaf.raw)
  return yield* from.dial({
    address: to.address,
    carrier,
    protocols: ["test/1"],
    identity,
    trust,
    timeout: "5 seconds"
  })
})

describe("QUIC and TCP together", () => {
  it.live("have one port number, and a listener that gets the connections of both", () =>
    Effect.gen(function* () {
      const [near, far] = [yield* bind(), yield* bind()]
      assert.deepEqual(far.carriers, ["quic", "tcp"])
      const listener = yield* listen(far)
      for (const carrier of ["tcp", "quic", undefined] as const) {
        const [ours, theirs] = yield* Effect.all([dial(near, far, carrier), listener.accept], { concurrency: 2 })
        assert.deepEqual([ours.carrier, theirs.carrier], [carrier ?? "quic", carrier ?? "quic"])
        assert.deepEqual(ours.remoteAddress(), far.address)
        const stream = yield* ours.open
        stream.write("hello")
        const accepted = yield* theirs.accept
        assert.strictEqual(String(yield* Effect.promise(async () => (await accepted.iterator().next()).value)), "hello")
      }
      assert.strictEqual(far.counts().connections, 3)
    }).pipe(Effect.scoped)
  )

  it.live("refuse the same addresses", () =>
    Effect.gen(function* () {
      const [near, far] = [yield* bind(), yield* bind("auto", HERE, (host) => host !== "127.0.0.1")]
      yield* listen(far)
      for (const carrier of ["quic", "tcp"] as const) {
        assert.strictEqual((yield* Effect.flip(dial(near, far, carrier))).reason._tag, "Refused")
      }
      assert.deepEqual(far.counts(), { ...NOTHING, listeners: 1 })
    }).pipe(Effect.scoped)
  )

  for (const transport of ["auto", "quic", "tcp"] as const) {
    it.live(`give the UDP socket the buffers that are asked for (${transport})`, () =>
      Effect.gen(function* () {
        const create = yield* Effect.acquireRelease(
          Effect.sync(() => vi.spyOn(dgram, "createSocket")),
          (spy) => Effect.sync(() => spy.mockRestore())
        )
        const network = layer({ transport, receiveBufferBytes: 50_000, sendBufferBytes: 40_000 })
        yield* Effect.flatMap(Transport, (one) => one.bind({ address: HERE })).pipe(Effect.provide(network))
        const sockets = create.mock.results.map(({ value }) => value as dgram.Socket)
        // Linux says twice as much.
        const times = process.platform === "linux" ? 2 : 1
        assert.deepEqual(
          sockets.map((socket) => [socket.getRecvBufferSize(), socket.getSendBufferSize()]),
          [[times * 50_000, times * 40_000]]
        )
      }).pipe(Effect.scoped)
    )
  }

  for (const congestionControl of ["bbr", "cubic", "reno", undefined] as const) {
    it.live(`asks QUIC for ${congestionControl ?? "bbr, if nothing is said,"} on either end`, () =>
      Effect.gen(function* () {
        const native = yield* Effect.promise(loadNative)
        const setName = yield* Effect.acquireRelease(
          Effect.sync(() =>
            vi.spyOn((native.Config as unknown as { readonly prototype: NativeConfig }).prototype, "setCcAlgorithmName")
          ),
          (spy) => Effect.sync(() => spy.mockRestore())
        )
        const network = layer(congestionControl === undefined ? {} : { congestionControl })
        const bound = Effect.flatMap(Transport, (one) => one.bind({ address: HERE })).pipe(Effect.provide(network))
        const [near, far] = [yield* bound, yield* bound]
        const listener = yield* listen(far)
        yield* Effect.all([dial(near, far, "quic"), listener.accept], { concurrency: 2 })
        const name = congestionControl ?? "bbr"
        assert.deepEqual(setName.mock.calls, [[name], [name]])
      }).pipe(Effect.scoped)
    )
  }

  it.live("leave nothing behind, also of who was never accepted", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const inScope = Effect.provideService(Scope.Scope, scope)
      const [near, far] = [yield* inScope(bind()), yield* inScope(bind())]
      yield* inScope(listen(far))
      const dialed = yield* inScope(
        Effect.forEach(["tcp", "quic", "tcp", "quic"] as const, (carrier) => dial(near, far, carrier))
      )
      yield* Scope.close(scope, Exit.void)
      assert.deepEqual([near.counts(), far.counts()], [NOTHING, NOTHING])
      for (const connection of dialed) assert.isDefined(connection.ended())
    })
  )

  it.live("refuse those who wait and whoever comes when the listener is closed, and keep who was accepted", () =>
    Effect.gen(function* () {
      const [near, far] = [yield* bind(), yield* bind()]
      const scope = yield* Scope.make()
      const listener = yield* Effect.provideService(listen(far), Scope.Scope, scope)
      const [kept, accepted] = yield* Effect.all([dial(near, far, "tcp"), listener.accept], { concurrency: 2 })
      const waiting = yield* Effect.forEach(["tcp", "quic", "tcp"] as const, (carrier) => dial(near, far, carrier))
      yield* Scope.close(scope, Exit.void)
      for (const connection of waiting) assert.strictEqual((yield* connection.closed)._tag, "Closed")
      assert.strictEqual((yield* Effect.flip(listener.accept)).reason._tag, "Closed")
      assert.deepEqual([kept.ended(), accepted.ended()], [undefined, undefined])
    }).pipe(Effect.scoped)
  )

  it.live("are refused when one of the two ports is taken, which is named", () =>
    Effect.gen(function* () {
      const taken = yield* Effect.acquireRelease(
        Effect.promise<ReturnType<typeof createServer>>(
          () =>
            new Promise((resolve) => {
              const server = createServer().listen(0, "127.0.0.1", () => resolve(server))
            })
        ),
        (server) => Effect.sync(() => server.close())
      )
      const { port } = taken.address() as { port: number }
      const error = yield* Effect.flip(bind("auto", { host: "127.0.0.1", port }))
      assert.strictEqual(error.message, `cannot listen on 127.0.0.1:${port}: address in use`)
      // UDP alone does not mind.
      assert.strictEqual((yield* bind("quic", { host: "127.0.0.1", port })).address.port, port)
    }).pipe(Effect.scoped)
  )

  it.live("are one of the two when only that is allowed", () =>
    Effect.gen(function* () {
      assert.deepEqual((yield* bind("tcp")).carriers, ["tcp"])
      assert.deepEqual((yield* bind("quic")).carriers, ["quic"])
    }).pipe(Effect.scoped)
  )
})
