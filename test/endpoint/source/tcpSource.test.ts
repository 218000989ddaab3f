import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { assert, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Logger } from "effect"
import { tcpSource } from "../../../src/endpoint/source/tcpSource.ts"
import { messageOptions } from "../../../src/peer/DirectLink.ts"
import type { LocalEndpoint } from "../../../src/peer/Peers.ts"
import { connectRequest, connectResponse, PLAIN_ANSWER } from "../../../src/protocol/Connect.ts"
import { receive, send } from "../../../src/protocol/MessageStream.ts"
import { endpointWith, listedPeer, makeLinks } from "../links.ts"
import { named, visit } from "../World.ts"

/** The port of a source that is patient. */
const listening = Effect.fnUntraced(function* (endpoint: LocalEndpoint) {
  const address = yield* tcpSource(endpoint, {
    name: endpoint.name,
    listen: { _tag: "tcp", host: "127.0.0.1", port: 0 },
    dialTimeout: Duration.seconds(30)
  })
  return Number(address.split(":").at(-1))
})

it.live("a source lets 1,024 users wait for a path, refuses further ones, and says so once", () =>
  Effect.gen(function* () {
    const warnings: Array<unknown> = []
    const log = Logger.make<unknown, void>(({ message }) => void warnings.push(message))
    const endpoint = yield* endpointWith([])
    const port = yield* listening(endpoint).pipe(Effect.provide(Logger.layer([log])))

    const refused = yield* Effect.acquireRelease(
      Effect.sync(() => {
        let resets = 0
        let done: () => void = () => {}
        const three = new Promise<void>((resolve) => {
          done = resolve
        })
        const users = Array.from({ length: 1_027 }, () =>
          connect({ port, host: "127.0.0.1" }).on("error", () => {
            resets++
            if (resets === 3) done()
          })
        )
        return { users, three, resets: () => resets }
      }),
      ({ users }) => Effect.sync(() => users.forEach((user) => user.destroy()))
    )
    yield* Effect.timeout(
      Effect.promise(() => refused.three),
      "10 seconds"
    )
    assert.strictEqual(refused.resets(), 3)
    assert.lengthOf(
      warnings.filter((message) => String(message) === "connections.refused"),
      1
    )
  })
)

it.live("a source cuts the stream of a user who leaves after his first bytes, before the answer", () =>
  Effect.gen(function* () {
    const heard = yield* Deferred.make<string>()
    const cut = yield* Deferred.make<void>()
    const link = yield* makeLinks
    const far = yield* link((connection) =>
      Effect.gen(function* () {
        const stream = yield* connection.accept
        yield* receive(stream, connectRequest, messageOptions(connection))
        stream.once("data", (part) => Deferred.doneUnsafe(heard, Effect.succeed(String(part))))
        stream.once("close", () => Deferred.doneUnsafe(cut, Effect.void))
      }).pipe(Effect.ignore)
    )
    const endpoint = yield* endpointWith([far], [listedPeer("far", { earlyData: true })])
    const port = yield* listening(endpoint)
    const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
    user.write("hello")
    assert.strictEqual(yield* Effect.timeout(Deferred.await(heard), "5 seconds"), "hello")
    user.resetAndDestroy()
    yield* Effect.timeout(Deferred.await(cut), "5 seconds")
  }).pipe(Effect.provide(Logger.layer([])))
)

it.live("a source carries a user on who has said everything and ended before the answer", () =>
  Effect.gen(function* () {
    const link = yield* makeLinks
    const far = yield* link((connection) =>
      Effect.gen(function* () {
        const stream = yield* connection.accept
        yield* receive(stream, connectRequest, messageOptions(connection))
        yield* Effect.promise(async () => {
          while (stream.readableLength < 5) await once(stream, "readable")
        })
        yield* send(stream, connectResponse, PLAIN_ANSWER, messageOptions(connection))
        named("far")(stream as unknown as Socket)
      }).pipe(Effect.ignore)
    )
    const endpoint = yield* endpointWith([far], [listedPeer("far", { earlyData: true })])
    const port = yield* listening(endpoint)
    const reply = yield* visit(port, "hello").pipe(Effect.timeout("5 seconds"))
    assert.strictEqual(reply, "far:hello")
  }).pipe(Effect.provide(Logger.layer([])))
)
