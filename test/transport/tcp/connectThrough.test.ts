/** Connections through real proxies, and through servers that answer as no good proxy does. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { connect as connectTls, createServer as createTlsServer } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted, Result } from "effect"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import { parseProxy } from "../../../src/domain/Proxy.ts"
import { connectThrough } from "../../../src/transport/tcp/connectThrough.ts"
import { freePort } from "../../cli/Tunnel.ts"
import { lacks } from "../../lab/programs.ts"
import { microsocks, tinyproxy } from "../../lab/proxies.ts"

const proxy = (url: string) => Result.getOrThrow(parseProxy(url))

/** A server on this machine, which ends with the Scope and cuts its connections. */
const listening = (server: Server, host = "127.0.0.1") => {
  const sockets = new Set<Socket>()
  server.on("connection", (socket) => {
    sockets.add(socket.on("error", () => {}))
    socket.once("close", () => sockets.delete(socket))
  })
  return Effect.acquireRelease(
    Effect.promise(async () => {
      server.listen(0, host)
      await once(server, "listening")
      return (server.address() as AddressInfo).port
    }),
    () =>
      Effect.promise(async () => {
        for (const socket of sockets) socket.destroy()
        if (server.listening) await once(server.close(), "close")
      })
  )
}

/** Speaks first, then echoes; `localhost` leads there. */
const greeter = Effect.suspend(() =>
  listening(
    createServer((socket) => {
      socket.write("hello ")
      socket.pipe(socket)
    }),
    "localhost"
  )
)

/** Sends a text, and reads so many characters. */
const talk = (socket: Socket, text: string, length: number) =>
  Effect.callback<string>((resume) => {
    let reply = ""
    socket.setEncoding("utf8").on("data", (more) => {
      reply += more
      if (reply.length >= length) resume(Effect.succeed(reply))
    })
    socket.once("close", () => resume(Effect.succeed(`${reply} and no more`)))
    if (text !== "") socket.write(text)
  }).pipe(Effect.ensuring(Effect.sync(() => socket.destroy())))

/** Why no connection was opened. */
const refusal = (url: string, target: { host: string; port: number }, roots?: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const { reason } = yield* Effect.flip(connectThrough(proxy(url), target, { roots }))
    if (reason._tag !== "ProxyFailed") return assert.fail(reason._tag)
    assert.notInclude(reason.message, "secret")
    return reason.message.replace(`proxy ${reason.proxy}: `, "")
  })

describe.skipIf(lacks("HTTP proxies", { programs: ["tinyproxy"] }))("tinyproxy", () => {
  it.live("carries a connection to a name, and what is sent there at once", () =>
    Effect.gen(function* () {
      const url = `http://127.0.0.1:${yield* tinyproxy()}`
      const port = yield* greeter
      const socket = yield* connectThrough(proxy(url), { host: "localhost", port })
      assert.strictEqual(yield* talk(socket, "world", 11), "hello world")
    })
  )

  it.live("is shown the user name and password that it asks for", () =>
    Effect.gen(function* () {
      const proxyPort = yield* tinyproxy({ user: "user secret" })
      const port = yield* greeter
      const target = { host: "localhost", port }
      const socket = yield* connectThrough(proxy(`http://user:secret@127.0.0.1:${proxyPort}`), target)
      assert.strictEqual(yield* talk(socket, "world", 11), "hello world")
      assert.match(
        yield* refusal(`http://127.0.0.1:${proxyPort}`, target),
        /^it asks for a user name and a password \(407/
      )
      assert.match(
        yield* refusal(`http://user:secret2@127.0.0.1:${proxyPort}`, target),
        /^it does not accept the user name and password \(40[17] .*\); correct them in its URL$/
      )
    })
  )

  it.live("that allows another port only, or cannot reach the target, is quoted with what to do", () =>
    Effect.gen(function* () {
      const target = { host: "localhost", port: yield* greeter }
      const closed = { host: "127.0.0.1", port: yield* freePort }
      const url = `http://127.0.0.1:${yield* tinyproxy({ connectPort: closed.port })}`
      assert.strictEqual(
        yield* refusal(url, target),
        `it does not allow connections to localhost:${target.port} (403 Forbidden); allow that host and port there`
      )
      const unreachable = /^it cannot reach (.*) \(500 Internal Server Error\); is the name known and the port open/
      assert.strictEqual(unreachable.exec(yield* refusal(url, closed))?.[1], `127.0.0.1:${closed.port}`)
      const unknown = { host: "no-such-name.invalid", port: closed.port }
      assert.strictEqual(unreachable.exec(yield* refusal(url, unknown))?.[1], `no-such-name.invalid:${closed.port}`)
    })
  )

  it.live("behind TLS carries TLS, and must show a certificate that is trusted", () =>
    Effect.gen(function* () {
      const [outer, inner] = [yield* makeAuthority(), yield* makeAuthority()]
      const certified = Effect.fnUntraced(function* (authority: typeof outer) {
        const identity = yield* authority.issueServer(["localhost"])
        return { cert: identity.certificatePem, key: Redacted.value(identity.privateKeyPem) }
      })
      const behind = yield* tinyproxy()
      const front = createTlsServer(yield* certified(outer), (socket) => {
        const through = connect({ port: behind, host: "127.0.0.1" })
        for (const side of [socket, through]) side.on("error", () => {})
        socket.pipe(through)
        through.pipe(socket)
      })
      const url = `https://localhost:${yield* listening(front, "localhost")}`
      const target = yield* listening(createTlsServer(yield* certified(inner), (socket) => socket.end("hello")))
      const to = { host: "127.0.0.1", port: target }

      const socket = yield* connectThrough(proxy(url), to, { roots: [outer.certificatePem] })
      const secured = connectTls({ socket, servername: "localhost", ca: inner.certificatePem })
      assert.strictEqual(yield* talk(secured, "", 5), "hello")
      assert.isTrue(secured.authorized)
      socket.destroy()

      assert.match(
        yield* refusal(url, to, [inner.certificatePem]),
        /^its certificate is not trusted .*NODE_EXTRA_CA_CERTS/
      )
    })
  )
})

describe.skipIf(lacks("SOCKS5 proxies", { programs: ["microsocks"] }))("microsocks", () => {
  it.live("carries connections to a name and to an address", () =>
    Effect.gen(function* () {
      const url = `socks5://127.0.0.1:${yield* microsocks()}`
      const named = yield* connectThrough(proxy(url), { host: "localhost", port: yield* greeter })
      assert.strictEqual(yield* talk(named, "world", 11), "hello world")
      const numbered = yield* listening(createServer((socket) => socket.end("by number")))
      const socket = yield* connectThrough(proxy(url), { host: "127.0.0.1", port: numbered })
      assert.strictEqual(yield* talk(socket, "", 9), "by number")
    })
  )

  it.live("is shown the user name and password that it asks for", () =>
    Effect.gen(function* () {
      const port = yield* microsocks({ user: "user", password: "secret" })
      const target = { host: "localhost", port: yield* greeter }
      const socket = yield* connectThrough(proxy(`socks5://user:secret@127.0.0.1:${port}`), target)
      assert.strictEqual(yield* talk(socket, "world", 11), "hello world")
      assert.match(yield* refusal(`socks5://127.0.0.1:${port}`, target), /^it asks for a user name and a password;/)
      assert.match(
        yield* refusal(`socks5://user:secret2@127.0.0.1:${port}`, target),
        /^it does not accept the user name and password;/
      )
    })
  )

  it.live("that cannot reach the target, or does not know its name, is quoted with what to do", () =>
    Effect.gen(function* () {
      const url = `socks5://127.0.0.1:${yield* microsocks()}`
      const port = yield* freePort
      assert.strictEqual(
        yield* refusal(url, { host: "127.0.0.1", port }),
        `nothing listens at 127.0.0.1:${port}, as it sees it; correct host and port`
      )
      assert.strictEqual(
        yield* refusal(url, { host: "no-such-name.invalid", port }),
        `it cannot reach no-such-name.invalid:${port}; is the name known and the port open where it runs?`
      )
    })
  )
})

/** A server that says these bytes, each once it has heard anything, and keeps the connection, or finishes. */
const answering = Effect.fnUntraced(function* (answers: ReadonlyArray<string | Uint8Array>, finish = false) {
  const closed = yield* Deferred.make<void>()
  const port = yield* listening(
    createServer((socket) => {
      socket.once("close", () => Deferred.doneUnsafe(closed, Effect.void))
      const left = [...answers]
      socket.on("data", () => {
        const next = left.shift()
        if (next !== undefined) socket.write(next)
        if (left.length === 0 && finish) socket.end()
      })
    })
  )
  return { port, closed: Deferred.await(closed) }
})

const TARGET = { host: "target.example", port: 443 }

describe("a proxy", () => {
  const granted = [5, 0, 0, 3, 4, ...Buffer.from("name"), 0, 80]
  for (const [what, scheme, answers] of [
    ["http", "http", ["HTTP/1.1 200 Connection established\r\n\r\nhello"]],
    ["http, an informal status", "http", ["HTTP/1.0 299 \r\nX: y\r\n\r\nhello"]],
    ["socks5", "socks5", [Uint8Array.of(5, 0), Uint8Array.from([...granted, ...Buffer.from("hello")])]]
  ] as const) {
    it.live(`${what}: bytes of the target right behind the answer are in the socket`, () =>
      Effect.gen(function* () {
        const { port } = yield* answering(answers, true)
        const socket = yield* connectThrough(proxy(`${scheme}://127.0.0.1:${port}`), TARGET)
        assert.strictEqual(yield* talk(socket, "", 5), "hello")
      })
    )
  }

  it.live("socks5: the name is left to the proxy, and the answer may come in single bytes", () =>
    Effect.gen(function* () {
      const heard: Array<number> = []
      const server = createServer({ noDelay: true }, (socket) => {
        socket.on("data", async (bytes: Buffer) => {
          heard.push(...bytes)
          for (const byte of heard.length <= 3 ? [5, 0] : [5, 0, 0, 1, 127, 0, 0, 1, 0, 80]) {
            await new Promise((resolve) => socket.write(Uint8Array.of(byte), resolve))
          }
        })
      })
      const port = yield* listening(server)
      const socket = yield* connectThrough(proxy(`socks5://127.0.0.1:${port}`), TARGET)
      socket.destroy()
      assert.deepStrictEqual(heard, [5, 1, 0, 5, 1, 0, 3, 14, ...Buffer.from("target.example"), 1, 187])
    })
  )

  for (const [what, scheme, answers, finish, message] of [
    [
      "headers without end",
      "http",
      [`HTTP/1.1 200 OK\r\nX: ${"x".repeat(20_000)}`],
      false,
      /^its answer is longer than 16384 bytes/
    ],
    ["another protocol", "http", ["SSH-2.0-OpenSSH\r\n"], false, /^its answer is not HTTP/],
    [
      "another status",
      "http",
      ["HTTP/1.1 400 Bad\r\nContent-Length: 3\r\n\r\nbad"],
      false,
      /^it answered 400 Bad Request/
    ],
    ["nothing", "http", [], true, /^it closed the connection without an answer/],
    [
      "a bad gateway",
      "http",
      ["HTTP/1.1 502 Bad Gateway\r\n\r\n"],
      false,
      /^it cannot reach target.example:443 \(502 /
    ],
    ["another protocol", "https", ["HTTP/1.1 400 Bad Request\r\n\r\n"], false, /^it does not speak TLS; write http:/],
    ["another protocol", "socks5", ["HTTP/1.1 400 Bad Request\r\n\r\n"], false, /^it does not speak SOCKS5/],
    ["nothing", "socks5", [], true, /^it closed the connection without an answer/],
    ["half an answer", "socks5", [Uint8Array.of(5)], true, /^it closed the connection without an answer/],
    ["a choice and its end", "socks5", [Uint8Array.of(5, 0)], true, /^it closed the connection without an answer/],
    ["no method", "socks5", [Uint8Array.of(5, 255)], false, /^it asks for a user name and a password/],
    [
      "a ban",
      "socks5",
      [Uint8Array.of(5, 0), Uint8Array.of(5, 2, 0, 1)],
      false,
      /^it does not allow connections to target/
    ],
    [
      "an unknown code",
      "socks5",
      [Uint8Array.of(5, 0), Uint8Array.of(5, 99, 0, 1)],
      false,
      /^it refused .* \(code 99\)$/
    ]
  ] as const) {
    it.live(`${scheme}: ${what} is told, and the connection is gone`, () =>
      Effect.gen(function* () {
        const { port, closed } = yield* answering(answers, finish)
        assert.match(yield* refusal(`${scheme}://127.0.0.1:${port}`, TARGET), message)
        yield* closed
      })
    )
  }

  it.live("that is not there, or whose name nobody knows, is told with what to do", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      for (const scheme of ["http", "https", "socks5"]) {
        assert.strictEqual(
          yield* refusal(`${scheme}://user:secret@127.0.0.1:${port}`, TARGET),
          "nothing listens there; start it, or correct host and port"
        )
      }
      assert.match(
        yield* refusal("http://no-such-name.invalid:1", TARGET),
        /^its name cannot be resolved \(E.*\); correct it$/
      )
    })
  )

  it.live("lets each half of a connection end by itself", () =>
    Effect.gen(function* () {
      const heard = yield* Deferred.make<string>()
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        let late = ""
        socket.once("data", () => {
          socket.end("HTTP/1.1 200 OK\r\n\r\nearly")
          socket.on("data", (bytes) => {
            late += bytes
          })
        })
        socket.once("end", () => Deferred.doneUnsafe(heard, Effect.succeed(late)))
      })
      const url = `http://127.0.0.1:${yield* listening(server)}`
      const socket = yield* connectThrough(proxy(url), TARGET)
      yield* Effect.promise(async () => {
        await once(socket.resume(), "end")
        await new Promise((resolve) => setImmediate(resolve))
        socket.end("late")
      })
      assert.strictEqual(yield* Deferred.await(heard), "late")
    })
  )

  for (const scheme of ["http", "https", "socks5"]) {
    it.live(`${scheme}: silence is for the caller to bound, and an interrupt closes the connection`, () =>
      Effect.gen(function* () {
        const asked = yield* Deferred.make<Socket>()
        const server = createServer((socket) => {
          socket.once("data", () => Deferred.doneUnsafe(asked, Effect.succeed(socket)))
        })
        const port = yield* listening(server)
        const fiber = yield* Effect.forkChild(connectThrough(proxy(`${scheme}://127.0.0.1:${port}`), TARGET))
        const socket = yield* Deferred.await(asked)
        yield* Fiber.interrupt(fiber)
        yield* Effect.promise(async () => {
          if (!socket.closed) await once(socket, "close")
        })
      })
    )
  }
})
