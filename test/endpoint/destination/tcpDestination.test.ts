import { once } from "node:events"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Logger } from "effect"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import { tcpDestination } from "../../../src/endpoint/destination/tcpDestination.ts"
import { messageOptions } from "../../../src/peer/DirectLink.ts"
import { type ConnectRequest, connectRequest, connectResponse } from "../../../src/protocol/Connect.ts"
import { encodeFrame } from "../../../src/protocol/Frame.ts"
import { receive, send } from "../../../src/protocol/MessageStream.ts"
import type { Connection } from "../../../src/transport/Transport.ts"
import { makeLinks } from "../links.ts"
import { closedPort, named, startService } from "../World.ts"

/** A link to a destination whose service is at this port. */
const linkTo = Effect.fnUntraced(function* (port: number, host = "127.0.0.1") {
  const link = yield* makeLinks
  const play = tcpDestination({
    name: "web" as EndpointName,
    service: { _tag: "tcp", host, port },
    dialTimeout: Duration.millis(500)
  })
  const direct = (connection: Connection) =>
    play({ connection, messages: messageOptions(connection), encryption: undefined })
  return (yield* link(direct)).near
})

const ask = Effect.fnUntraced(function* (
  connection: Effect.Success<ReturnType<typeof linkTo>>,
  request: ConnectRequest
) {
  const stream = yield* connection.open
  yield* send(stream, connectRequest, request, messageOptions(connection))
  return { stream, answer: yield* receive(stream, connectResponse, messageOptions(connection)) }
})

const CONNECT: ConnectRequest = { _tag: "Connect", encryptions: [] }

layer(Logger.layer([]), { excludeTestServices: true })("a tcp destination", (it) => {
  it.effect("answers when it has reached the service, and carries bytes and the end in both directions", () =>
    Effect.gen(function* () {
      const connection = yield* linkTo(yield* startService(named("a")))
      const { stream, answer } = yield* ask(connection, CONNECT)
      assert.deepStrictEqual(answer, { _tag: "Connected", proxy: "none", encryption: "none" })
      let reply = ""
      stream.on("data", (part) => {
        reply += part
      })
      stream.end("hello")
      yield* Effect.promise(() => once(stream, "end"))
      assert.strictEqual(reply, "a:hello")
    })
  )

  it.effect("hands the service what comes right behind the request", () =>
    Effect.gen(function* () {
      const connection = yield* linkTo(yield* startService(named("a")))
      const { width } = messageOptions(connection)
      const stream = yield* connection.open
      stream.end(Buffer.concat([encodeFrame(connectRequest.encode(CONNECT), width), Buffer.from("at once")]))
      assert.strictEqual((yield* receive(stream, connectResponse, messageOptions(connection)))._tag, "Connected")
      let reply = ""
      stream.on("data", (part) => {
        reply += part
      })
      yield* Effect.promise(() => once(stream, "end"))
      assert.strictEqual(reply, "a:at once")
    })
  )

  it.effect("answers with code 501 when the service is not there, and goes on", () =>
    Effect.gen(function* () {
      const connection = yield* linkTo(yield* closedPort)
      for (let time = 0; time < 2; time++) {
        const { answer } = yield* ask(connection, CONNECT)
        assert.deepInclude(answer, { _tag: "Refused", code: 501 })
        assert.match(answer._tag === "Refused" ? answer.message : "", /ECONNREFUSED/)
      }
    })
  )

  it.effect("answers a liveness check at any time", () =>
    Effect.gen(function* () {
      const { answer } = yield* ask(yield* linkTo(yield* closedPort), { _tag: "Check" })
      assert.deepStrictEqual(answer, { _tag: "Checked" })
    })
  )

  it.effect("ends a stream with garbage on it, and no other one", () =>
    Effect.gen(function* () {
      const connection = yield* linkTo(yield* startService(named("a")))
      const { stream } = yield* ask(connection, CONNECT)
      const garbage = yield* connection.open
      garbage.write(Buffer.alloc(64, 0xff))
      garbage.resume()
      yield* Effect.timeout(
        Effect.promise(() => once(garbage, "end")),
        "2 seconds"
      )
      let reply = ""
      stream.on("data", (part) => {
        reply += part
      })
      stream.end("still here")
      yield* Effect.promise(() => once(stream, "end"))
      assert.strictEqual(reply, "a:still here")
    })
  )

  it.effect("lets go of the service when the source gives up", () =>
    Effect.gen(function* () {
      let closed: (code: unknown) => void = () => {}
      const lost = new Promise((resolve) => {
        closed = resolve
      })
      const port = yield* startService((socket) =>
        socket.on("error", ({ code }: NodeJS.ErrnoException) => closed(code)).resume()
      )
      const { stream } = yield* ask(yield* linkTo(port), CONNECT)
      stream.destroy()
      assert.strictEqual(
        yield* Effect.timeout(
          Effect.promise(() => lost),
          "2 seconds"
        ),
        "ECONNRESET"
      )
    })
  )
})
