/** Who the users of an http destination are, by what the source of a stream says of them. */
import { assert, layer } from "@effect/vitest"
import { Effect, Logger } from "effect"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import { tcpDestination } from "../../../src/endpoint/destination/tcpDestination.ts"
import { httpDestination } from "../../../src/endpoint/http/httpDestination.ts"
import { proxyHeader } from "../../../src/endpoint/source/proxyHeader.ts"
import type { UserFacts } from "../../../src/endpoint/source/User.ts"
import { messageOptions } from "../../../src/peer/DirectLink.ts"
import {
  type ConnectRequest,
  connectRequest,
  connectResponse,
  DIRECT_REQUEST,
  FORWARDING_REQUEST
} from "../../../src/protocol/Connect.ts"
import { receive, send } from "../../../src/protocol/MessageStream.ts"
import { httpUrl, startHttpService } from "../http/tunnel.ts"
import { makeLinks } from "../links.ts"

/** Streams to an http destination, with the header that each is asked for, and what its service has seen. */
const start = Effect.gen(function* () {
  const service = yield* startHttpService((req, res) => {
    const { forwarded, "x-forwarded-for": users, "x-forwarded-proto": proto } = req.headers
    res.end(JSON.stringify({ users, proto, forwarded }))
  })
  const destination = yield* httpDestination({ name: "web", url: httpUrl(service.port) })
  const play = tcpDestination({ name: "web" as EndpointName, service: destination, proxyHeader: "v2" })
  const link = yield* (yield* makeLinks)((connection) =>
    play({ connection, messages: messageOptions(connection), encryption: undefined })
  )
  const open = Effect.fnUntraced(function* (request: ConnectRequest) {
    const stream = yield* link.near.open
    const options = messageOptions(link.near)
    yield* send(stream, connectRequest, request, options)
    const answer = yield* receive(stream, connectResponse, options)
    return { stream: stream.on("error", () => {}), proxy: answer._tag === "Connected" ? answer.proxy : answer._tag }
  })
  /** The body of the answer; empty when there is none. */
  const ask = Effect.fnUntraced(function* (request: ConnectRequest, parts: ReadonlyArray<Buffer | string>) {
    const { stream } = yield* open(request)
    for (const part of parts) stream.write(part)
    const reply = yield* Effect.promise(
      () =>
        new Promise<string>((resolve) => {
          let text = ""
          stream.on("data", (part) => {
            text += part
          })
          stream.once("end", () => stream.end()).once("close", () => resolve(text))
        })
    )
    return reply.split("\r\n\r\n")[1] ?? ""
  })
  return { open, ask, seen: service.seen }
})

const facts: UserFacts = {
  source: { _tag: "tcp", host: "192.0.2.10", port: 51_000 },
  destination: { _tag: "tcp", host: "198.51.100.20", port: 443 },
  tls: undefined
}

const request = (fields: string) => `GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${fields}\r\n`

layer(Logger.layer([]), { excludeTestServices: true })("an http destination", (it) => {
  it.effect("asks sources who their users are, unless their requests say it", () =>
    Effect.gen(function* () {
      const { open } = yield* start
      assert.strictEqual((yield* open(DIRECT_REQUEST)).proxy, "v2")
      assert.strictEqual((yield* open(FORWARDING_REQUEST)).proxy, "none")
    })
  )

  it.effect(
    "adds whom the header tells of to what the user wrote, and believes no stranger his host and protocol",
    () =>
      Effect.gen(function* () {
        const { ask } = yield* start
        const written = request(
          "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
        )
        assert.deepStrictEqual(JSON.parse(yield* ask(DIRECT_REQUEST, [proxyHeader("v2", facts), written])), {
          users: "203.0.113.5, 192.0.2.10",
          proto: "http",
          forwarded: "for=203.0.113.5, for=192.0.2.10;host=h;proto=http"
        })
      })
  )

  it.effect("knows from the header that the user speaks TLS", () =>
    Effect.gen(function* () {
      const { ask } = yield* start
      const tls = { version: "TLSv1.3", cipher: "c", serverName: "h", protocol: undefined, certificate: undefined }
      const told = JSON.parse(yield* ask(DIRECT_REQUEST, [proxyHeader("v2", { ...facts, tls }), request("")]))
      assert.deepStrictEqual(told, {
        users: "192.0.2.10",
        proto: "https",
        forwarded: "for=192.0.2.10;host=h;proto=https"
      })
    })
  )

  it.effect("takes a header in single bytes, and a request right behind it", () =>
    Effect.gen(function* () {
      const { ask } = yield* start
      const bytes = Buffer.concat([proxyHeader("v2", facts), Buffer.from(request(""))])
      const told = yield* ask(
        DIRECT_REQUEST,
        Array.from(bytes, (byte) => Buffer.of(byte))
      )
      assert.strictEqual(JSON.parse(told).users, "192.0.2.10")
    })
  )

  it.effect("leaves requests alone that come without a header, as those of upstream's http sources do", () =>
    Effect.gen(function* () {
      const { ask } = yield* start
      const fields = "X-Forwarded-For: 203.0.113.5\r\nX-Forwarded-Proto: https\r\nForwarded: for=z\r\n"
      for (const asked of [DIRECT_REQUEST, FORWARDING_REQUEST]) {
        const told = JSON.parse(yield* ask(asked, [request(fields)]))
        assert.deepStrictEqual(told, { users: "203.0.113.5", proto: "https", forwarded: "for=z" })
      }
    })
  )

  it.effect("cuts a stream whose header is broken, or that ends within it, and its service sees nothing", () =>
    Effect.gen(function* () {
      const { ask, open, seen } = yield* start
      const broken = proxyHeader("v2", facts)
      broken[12] = 0x31
      assert.strictEqual(yield* ask(DIRECT_REQUEST, [broken, request("")]), "")
      const { stream } = yield* open(DIRECT_REQUEST)
      stream.end(proxyHeader("v2", facts).subarray(0, 20))
      yield* Effect.promise(() => new Promise((resolve) => stream.resume().once("close", resolve)))
      assert.deepStrictEqual(seen, [])
    })
  )
})
