import { once } from "node:events"
import { setImmediate } from "node:timers/promises"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Logger, Scope, SubscriptionRef } from "effect"
import { makeDialer } from "../../src/endpoint/makeDialer.ts"
import { messageOptions } from "../../src/peer/DirectLink.ts"
import { connectRequest, connectResponse } from "../../src/protocol/Connect.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import type { Connection } from "../../src/transport/Transport.ts"
import { endpointWith, makeLinks } from "./links.ts"

/** A destination that takes every connection and says its name, with the answer and the first bytes in one go. */
const taking = (name: string) => (connection: Connection) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      const request = yield* receive(stream, connectRequest, messageOptions(connection))
      assert.deepStrictEqual(request, { _tag: "Connect", encryptions: [] })
      yield* send(
        stream,
        connectResponse,
        { _tag: "Connected", proxy: "none", encryption: "none" },
        messageOptions(connection)
      )
      stream.end(name)
    }
  }).pipe(Effect.ignore)

const refusing = (connection: Connection) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      yield* receive(stream, connectRequest, messageOptions(connection))
      yield* send(
        stream,
        connectResponse,
        { _tag: "Refused", code: 501, message: "no service" },
        messageOptions(connection)
      )
      stream.end().resume()
    }
  }).pipe(Effect.ignore)

/** Takes the stream and says nothing, like a slow service. */
const dawdling = (connection: Connection) => Effect.ignore(Effect.forever(connection.accept))

const name = Effect.fnUntraced(function* (dial: ReturnType<typeof makeDialer>) {
  const { stream } = yield* dial
  let said = ""
  stream.on("data", (part) => {
    said += part
  })
  yield* Effect.promise(() => once(stream, "end"))
  return said
}, Effect.scoped)

layer(Logger.layer([]), { excludeTestServices: true })("the dialer of a source", (it) => {
  it.effect("takes the best path, and leaves the bytes after the answer to the user", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(taking("near")), yield* link(taking("far"))])
      assert.strictEqual(yield* name(makeDialer(endpoint)), "near")
    })
  )

  it.effect("goes on to the next path when one refuses", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(refusing), yield* link(taking("far"))])
      assert.strictEqual(yield* name(makeDialer(endpoint)), "far")
    })
  )

  it.effect("fails at once with every refusal when all refuse", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(refusing), yield* link(refusing)])
      const { reason } = yield* Effect.flip(Effect.scoped(makeDialer(endpoint)))
      assert.lengthOf(reason._tag === "ConnectFailed" ? reason.causes : [], 2)
      assert.match(reason.message, /no service \(code 501\)/)
    })
  )

  it.effect("leaves a path that is silent for another one within two seconds, and makes it suspect", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const silent = yield* link(taking("silent"))
      const endpoint = yield* endpointWith([silent, yield* link(taking("far"))])
      silent.cut()
      const startedAt = performance.now()
      assert.strictEqual(yield* name(makeDialer(endpoint)), "far")
      assert.isBelow(performance.now() - startedAt, 2_000)
      assert.deepStrictEqual(
        (yield* SubscriptionRef.get(endpoint.paths)).map(({ state }) => state),
        ["Suspect", "Open"]
      )
    })
  )

  it.effect("leaves a suspect path as soon as a new one opens", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const silent = yield* link(taking("silent"))
      const endpoint = yield* endpointWith([silent])
      silent.cut()
      const [path] = yield* SubscriptionRef.get(endpoint.paths)
      yield* path!.doubted
      const [opened] = yield* SubscriptionRef.get((yield* endpointWith([yield* link(taking("new"))])).paths)
      yield* SubscriptionRef.update(endpoint.paths, (all) => [...all, opened!]).pipe(
        Effect.delay("200 millis"),
        Effect.forkChild
      )
      const startedAt = performance.now()
      assert.strictEqual(yield* name(makeDialer(endpoint)), "new")
      assert.isBelow(performance.now() - startedAt, 800)
    })
  )

  it.effect("waits for a slow service, and gives its stream back after the dial timeout", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const slow = yield* link(dawdling)
      const endpoint = yield* endpointWith([slow])
      const startedAt = performance.now()
      yield* Effect.flip(Effect.scoped(makeDialer(endpoint, Duration.millis(1_500))))
      assert.isAbove(performance.now() - startedAt, 1_400)
      const [path] = yield* SubscriptionRef.get(endpoint.paths)
      // A stream says that it is closed a moment after it was destroyed.
      yield* Effect.promise(() => setImmediate())
      assert.deepStrictEqual([path?.state, path?.streams()], ["Open", 0])
    })
  )

  it.effect("gives the stream back with the Scope, whatever became of it", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(taking("near"))])
      const scope = yield* Scope.make()
      const { stream } = yield* makeDialer(endpoint).pipe(Effect.provideService(Scope.Scope, scope))
      assert.isFalse(stream.destroyed)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(stream.destroyed)
    })
  )
})
