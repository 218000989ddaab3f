/** What strangers may send to a listener, and what that costs it: their connection, never the listener. */
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2"
import { connect as connectTcp, type Socket } from "node:net"
import { connect, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { issueServer } from "../../../src/certs/issue.ts"
import type { SocketAddress } from "../../../src/domain/SocketAddress.ts"
import { type Endpoint, type Listener, Transport } from "../../../src/transport/Transport.ts"
import { Trust } from "../../../src/transport/Trust.ts"
import { STRANGER_CREDIT } from "../../../src/transport/tcp/internal/limits.ts"
import * as Tcp from "../../../src/transport/tcp/Tcp.ts"

const MIB = 1024 * 1024
const DIALER_OPENS = "D"
const LISTENER_OPENS = "L"
/** What an HTTP/2 client begins with (RFC 9113 §3.4), settings without values, and the confirmation of settings. */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
const SETTINGS = Buffer.from("000000040000000000", "hex")
const CONFIRMATION = Buffer.from("000000040100000000", "hex")

interface World {
  readonly endpoint: Endpoint
  readonly listener: Listener
}

const world = Effect.gen(function* () {
  const transport = yield* Transport
  const endpoint = yield* transport.bind({ address: { host: "127.0.0.1", port: 0 } })
  const identity = yield* issueServer(["a"])
  const listener = yield* endpoint.listen({ protocols: ["x"], identity, trust: Trust.anyone })
  return { endpoint, listener } satisfies World
})

const test = (
  behaviour: string,
  body: (world: World) => Effect.Effect<void, unknown, Transport | Scope.Scope>,
  options: { readonly timeout?: number } = {}
) =>
  it.live(
    behaviour,
    () =>
      Effect.gen(function* () {
        const both = yield* world
        yield* body(both)
        yield* stillListens(both)
      }).pipe(Effect.scoped, Effect.provide(Tcp.layer())),
    options
  )

/** Whatever a stranger did, the next one is served. */
const stillListens = Effect.fnUntraced(function* ({ endpoint, listener }: World) {
  const near = yield* Effect.flatMap(Transport, (transport) =>
    transport.bind({ address: { host: "127.0.0.1", port: 0 } })
  )
  const target = {
    address: endpoint.address,
    protocols: ["x"],
    trust: Trust.expected(() => true),
    timeout: "5 seconds"
  } as const
  const ours = yield* near.dial(target)
  const { port } = ours.localAddress
  const theirs = yield* Effect.repeat(listener.accept, { until: (found) => found.remoteAddress().port === port })
  const opened = yield* ours.open
  opened.end("hello")
  yield* theirs.accept
})

/** A stranger after its TLS handshake. */
const stranger = (address: SocketAddress, servername = "a") =>
  Effect.acquireRelease(
    Effect.callback<TLSSocket>((resume) => {
      const options = {
        ...address,
        servername,
        ALPNProtocols: ["x"],
        rejectUnauthorized: false,
        minVersion: "TLSv1.3"
      } as const
      const socket = connect(options, () => resume(Effect.succeed(socket)))
      socket.on("error", () => {})
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

/** A stranger that speaks HTTP/2 as its client. */
const session = Effect.fnUntraced(function* (address: SocketAddress) {
  const socket = yield* stranger(address)
  yield* Effect.promise(() => new Promise((resolve) => socket.write(DIALER_OPENS, resolve)))
  const client = connectHttp2("http://x", { createConnection: () => socket, settings: { enablePush: false } })
  client.on("error", () => {})
  yield* Effect.promise(() => new Promise((resolve) => client.once("remoteSettings", resolve)))
  return { socket, client }
})

const request = (client: ClientHttp2Session, headers: Record<string, string>) =>
  client.request(headers).on("error", () => {})

const closed = (socket: Socket) =>
  Effect.promise(async () => {
    socket.resume()
    if (!socket.closed) await new Promise((resolve) => socket.once("close", resolve))
  })

/** The other end's socket is closed; a few turns of the event loop later so is ours. */
const untilNothingIsLeft = (endpoint: Endpoint) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < 1_000 && endpoint.counts().timers > 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.deepEqual(endpoint.counts(), { connections: 0, streams: 0, timers: 0, listeners: 1 })
  })

describe("strangers over TCP", () => {
  test("bytes right behind the first one are not lost", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const socket = yield* stranger(endpoint.address)
      socket.write(Buffer.concat([Buffer.from(DIALER_OPENS), PREFACE, SETTINGS, CONFIRMATION]))
      const connection = yield* listener.accept
      assert.isUndefined(connection.ended())
    }))

  const sends = (what: string, bytes: () => Buffer) =>
    test(`${what} ends the connection`, ({ endpoint }) =>
      Effect.gen(function* () {
        const socket = yield* stranger(endpoint.address)
        socket.write(bytes())
        yield* closed(socket)
        yield* untilNothingIsLeft(endpoint)
      }))
  sends("an unknown first byte", () => Buffer.from("GET / HTTP/1.1\r\n\r\n"))
  sends("what is not HTTP/2, from its client,", () =>
    Buffer.from(`${DIALER_OPENS}GET / HTTP/1.1\r\n\r\n${"x".repeat(100_000)}`)
  )
  sends("what is not HTTP/2, from its server,", () => Buffer.from(`${LISTENER_OPENS}${"x".repeat(100_000)}`))
  sends("a frame that is too large", () =>
    Buffer.concat([
      Buffer.from(DIALER_OPENS),
      PREFACE,
      SETTINGS,
      CONFIRMATION,
      Buffer.from("ffffff000000000001", "hex")
    ])
  )
  sends("a stream before the settings are confirmed", () =>
    // HEADERS of stream 1 with `:method: CONNECT` and `:authority: stream` (RFC 7541 §6.2.2).
    Buffer.concat([
      Buffer.from(DIALER_OPENS),
      PREFACE,
      SETTINGS,
      Buffer.from("000011010400000001", "hex"),
      Buffer.from("0207434f4e4e454354", "hex"),
      Buffer.from("010673747265616d", "hex")
    ])
  )

  test("a closed socket is a connection that was lost, and says so", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const { socket } = yield* session(endpoint.address)
      const connection = yield* listener.accept
      socket.destroy()
      const ended = yield* connection.closed
      assert.match(ended.message, /the TCP connection was (closed|lost)/)
    }))

  const requests = (what: string, headers: Record<string, string>) =>
    test(`${what} ends the connection`, ({ endpoint, listener }) =>
      Effect.gen(function* () {
        const { client, socket } = yield* session(endpoint.address)
        const connection = yield* listener.accept
        request(client, headers)
        const ended = yield* connection.closed
        assert.deepInclude(ended, { _tag: "Closed", by: "local", application: false })
        yield* closed(socket)
      }))
  requests("another method than CONNECT", { ":method": "POST", ":path": "/" })
  requests("a stream of an unknown kind", { ":method": "CONNECT", ":authority": "elsewhere" })

  test("headers that are too large are refused", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const { client } = yield* session(endpoint.address)
      const connection = yield* listener.accept
      const stream = request(client, { ":method": "CONNECT", ":authority": "stream", "x-large": "x".repeat(8_000) })
      yield* Effect.promise(() => new Promise((resolve) => stream.once("close", resolve)))
      assert.notStrictEqual(stream.rstCode, 0)
      assert.strictEqual(endpoint.counts().streams, 0)
      yield* connection.close(0, "")
    }))

  test("streams that are opened and reset at full speed end the connection", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const { client } = yield* session(endpoint.address)
      const connection = yield* listener.accept
      const reset = () => {
        for (let count = 0; count < 100 && !client.destroyed; count++) {
          request(client, { ":method": "CONNECT", ":authority": "stream" }).close(8)
        }
        if (!client.destroyed) setImmediate(reset)
      }
      reset()
      assert.strictEqual((yield* connection.closed)._tag, "Closed")
    }))

  test("no more than 4 MiB are taken from somebody who is not read", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const { client } = yield* session(endpoint.address)
      const connection = yield* listener.accept
      for (let count = 0; count < STRANGER_CREDIT.streams; count++) {
        request(client, { ":method": "CONNECT", ":authority": "stream" }).write(Buffer.alloc(MIB / 8))
      }
      for (let last = -1; ; ) {
        for (let turn = 0; turn < 10; turn++)
          yield* Effect.promise(() => new Promise((resolve) => client.ping(resolve)))
        const { bytesReceived } = connection.traffic()
        if (bytesReceived - last < 10_000) break
        last = bytesReceived
      }
      assert.isAbove(connection.traffic().bytesReceived, 3 * MIB)
      assert.isBelow(connection.traffic().bytesReceived, 5 * MIB)
    }))

  test("a server that resets the streams it is offered gets no new ones", ({ endpoint, listener }) =>
    Effect.gen(function* () {
      const socket = yield* stranger(endpoint.address)
      socket.write(Buffer.concat([Buffer.from(LISTENER_OPENS), SETTINGS, CONFIRMATION]))
      const connection = yield* listener.accept
      // RST_STREAM of stream 3, the first one after the control stream.
      socket.write(Buffer.from("00000403000000000300000008", "hex"))
      assert.match((yield* connection.closed).message, /a spare stream was reset/)
    }))

  test("an origin for a name that is none harms nothing", ({ endpoint }) =>
    Effect.gen(function* () {
      const socket = yield* stranger(endpoint.address, "a b")
      socket.write(Buffer.concat([Buffer.from(LISTENER_OPENS), SETTINGS, CONFIRMATION]))
      yield* Effect.promise(() => new Promise((resolve) => socket.once("data", resolve)))
      // ORIGIN (RFC 8336) with one entry, and a PING whose answer shows that it was read.
      socket.write(Buffer.from("00000b0c00000000000009", "hex"))
      socket.write("https://b")
      socket.write(Buffer.from("0000080600000000000102030405060708", "hex"))
      yield* Effect.promise(
        () =>
          new Promise<void>((resolve) =>
            socket.on("data", (bytes: Buffer) => {
              if (bytes.includes(Buffer.from("0102030405060708", "hex"))) resolve()
            })
          )
      )
    }))

  test(
    "whoever does not finish its handshake is closed after five seconds",
    ({ endpoint }) =>
      Effect.gen(function* () {
        const socket = yield* stranger(endpoint.address)
        const silent = connectTcp(endpoint.address)
          .on("error", () => {})
          .resume()
        yield* Effect.all([closed(socket), closed(silent)], { concurrency: 2 })
        yield* untilNothingIsLeft(endpoint)
      }),
    { timeout: 15_000 }
  )
})
