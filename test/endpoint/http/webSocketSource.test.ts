import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { once } from "node:events"
import type { Socket } from "node:net"
import { PassThrough } from "node:stream"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect } from "effect"
import { type RawData, WebSocket } from "ws"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import type { Dial } from "../../../src/endpoint/http/httpSource.ts"
import { webSocketSource } from "../../../src/endpoint/http/webSocketSource.ts"
import { connectTcp } from "../../../src/internal/tcp.ts"
import { PeerError, PeerUnreachable } from "../../../src/peer/PeerError.ts"
import { startService } from "../World.ts"
import { anywhere, eventually, portOf, quiet, raw, securely } from "./tunnel.ts"

/** A service of bytes at the other end. */
const start = Effect.fnUntraced(function* (serve: (socket: Socket) => void, path?: string) {
  const service = yield* startService(serve)
  const dial: Dial = Effect.acquireRelease(
    Effect.orDie(connectTcp({ host: "127.0.0.1", port: service })).pipe(
      Effect.map((socket) => ({
        stream: socket.on("error", () => {}),
        path: undefined as never,
        proxy: "none" as const
      }))
    ),
    ({ stream }) => Effect.sync(() => stream.destroy())
  )
  return portOf(yield* webSocketSource(dial, { name: "bytes", listen: anywhere, path }))
}, Effect.provide(quiet))

const open = (port: number, path = "/", options = {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, options)
      await once(socket, "open")
      return socket
    }),
    (socket) => Effect.sync(() => socket.terminate())
  )

const requestFor = (path: string, more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${more}\r\n`

it.live("messages become bytes, and bytes become binary messages", () =>
  Effect.gen(function* () {
    const port = yield* start((socket) => socket.pipe(socket))
    const user = yield* open(port)
    const sent = Buffer.alloc(3_000_000, "0123456789")
    const got = yield* Effect.promise(
      () =>
        new Promise<Buffer>((resolve) => {
          const parts: Array<Buffer> = []
          let length = 0
          user.on("message", (part: RawData, binary) => {
            assert.isTrue(binary)
            parts.push(part as Buffer)
            length += (part as Buffer).length
            if (length === sent.length + 4) resolve(Buffer.concat(parts))
          })
          user.send("text")
          for (let at = 0; at < sent.length; at += 1_000_000) user.send(sent.subarray(at, at + 1_000_000))
        })
    )
    assert.isTrue(got.equals(Buffer.concat([Buffer.from("text"), sent])))
  })
)

it.live("what a user sent before he closed arrives, and then an end", () =>
  Effect.gen(function* () {
    let heard: (text: string) => void = () => {}
    const text = new Promise<string>((resolve) => {
      heard = resolve
    })
    const port = yield* start((socket) => {
      let got = ""
      socket.on("data", (part) => {
        got += part
        // Nobody reads it.
        socket.write("and you")
      })
      socket.on("end", () => heard(got)).on("error", () => heard("cut"))
    })
    const user = yield* open(port)
    user.send("a".repeat(100_000))
    user.send("b")
    user.close()
    assert.strictEqual(yield* Effect.promise(() => text), `${"a".repeat(100_000)}b`)
  })
)

it.live("the end of a service closes the WebSocket behind its last bytes, a reset cuts it", () =>
  Effect.gen(function* () {
    const last = "z".repeat(200_000)
    const port = yield* start((socket) =>
      socket.once("data", (part: Buffer) => {
        if (String(part) === "end") socket.end(last)
        else socket.resetAndDestroy()
      })
    )
    const visit = Effect.fnUntraced(function* (word: string) {
      const user = yield* open(port)
      let length = 0
      user.on("message", (part: RawData) => {
        length += (part as Buffer).length
      })
      user.send(word)
      const [code] = yield* Effect.promise(() => once(user, "close"))
      return { code, length }
    })
    assert.deepStrictEqual(yield* visit("end"), { code: 1000, length: last.length })
    assert.deepStrictEqual(yield* visit("reset"), { code: 1006, length: 0 })
  })
)

it.live("a WebSocket that is cut is no end for the service", () =>
  Effect.gen(function* () {
    let heard: (text: string) => void = () => {}
    const text = new Promise<string>((resolve) => {
      heard = resolve
    })
    const port = yield* start((socket) => {
      socket.resume()
      socket.on("end", () => heard("end")).on("error", () => heard("cut"))
    })
    const user = yield* open(port)
    user.terminate()
    assert.strictEqual(yield* Effect.promise(() => text), "cut")
  })
)

it.live("a message that is too large closes the WebSocket and says so", () =>
  Effect.gen(function* () {
    const port = yield* start((socket) => socket.resume())
    const user = yield* open(port)
    user.send(Buffer.alloc(5 << 20))
    assert.strictEqual((yield* Effect.promise(() => once(user, "close")))[0], 1009)
  })
)

it.live("paths, origins and what is no WebSocket are looked at before anybody is dialed", () =>
  Effect.gen(function* () {
    let visits = 0
    const port = yield* start((socket) => {
      visits++
      socket.pipe(socket)
    }, "/below/")
    assert.match(yield* raw(port, requestFor("/other")), /^HTTP\/1.1 404 /)
    assert.match(yield* raw(port, requestFor("/below/", "Origin: https://evil.example\r\n")), /^HTTP\/1.1 403 /)
    assert.match(yield* raw(port, "GET /below/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), /^HTTP\/1.1 426 /)
    assert.strictEqual(visits, 0)
    const user = yield* open(port, "/below/x?y", { origin: `http://127.0.0.1:${port}` })
    user.send("hi")
    assert.strictEqual(String((yield* Effect.promise(() => once(user, "message")))[0]), "hi")
    yield* eventually(() => visits === 1, "one visit")
  })
)

it.live("a user is told why there is no destination, instead of a WebSocket", () =>
  Effect.gen(function* () {
    const nobody = Effect.fail(
      new PeerError({ reason: new PeerUnreachable({ endpoint: "bytes", peers: 0, afterMillis: 1 }) })
    )
    const port = portOf(yield* webSocketSource(nobody, { name: "bytes", listen: anywhere }))
    const user = new WebSocket(`ws://127.0.0.1:${port}/`)
    const [error] = yield* Effect.promise(() => once(user, "error"))
    assert.match(error.message, /502/)
  }).pipe(Effect.provide(quiet))
)

it.live("wss is the same within TLS", () =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const service = yield* startService((socket) => socket.pipe(socket))
    const dial: Dial = Effect.map(Effect.orDie(connectTcp({ host: "127.0.0.1", port: service })), (stream) => ({
      stream: stream.on("error", () => {}),
      path: undefined as never,
      proxy: "none" as const
    }))
    const listen = securely(yield* authority.issueServer(["localhost"]))
    const port = portOf(yield* webSocketSource(dial, { name: "bytes", listen }))
    const user = new WebSocket(`wss://localhost:${port}/`, { ca: authority.certificatePem })
    yield* Effect.promise(() => once(user, "open"))
    user.send("hi")
    assert.strictEqual(String((yield* Effect.promise(() => once(user, "message")))[0]), "hi")
    user.terminate()
  }).pipe(Effect.provide(quiet))
)

it.live("a user who leaves in the moment in which his destination is there leaves nothing behind", () =>
  Effect.gen(function* () {
    const accepted = yield* Deferred.make<Socket>()
    const onSocket = (message: unknown) =>
      Deferred.doneUnsafe(accepted, Effect.succeed((message as { readonly socket: Socket }).socket))
    yield* Effect.acquireRelease(
      Effect.sync(() => subscribe("net.server.socket", onSocket)),
      () => Effect.sync(() => unsubscribe("net.server.socket", onSocket))
    )
    const dialing = yield* Deferred.make<void>()
    const released = yield* Deferred.make<void>()
    const dial: Dial = Effect.acquireRelease(
      Effect.gen(function* () {
        const user = yield* Deferred.await(accepted)
        yield* Deferred.succeed(dialing, undefined)
        // Before anybody else hears of it.
        yield* Effect.callback<void>((resume) => void user.prependOnceListener("close", () => resume(Effect.void)))
        return { stream: new PassThrough(), path: undefined as never, proxy: "none" as const }
      }),
      () => Deferred.succeed(released, undefined)
    )
    const port = portOf(yield* webSocketSource(dial, { name: "bytes", listen: anywhere }))
    const user = yield* connectTcp({ host: "127.0.0.1", port })
    user.on("error", () => {}).write(requestFor("/"))
    yield* Deferred.await(dialing)
    user.resetAndDestroy()
    yield* Effect.timeout(Deferred.await(released), "5 seconds")
  }).pipe(Effect.provide(quiet))
)
