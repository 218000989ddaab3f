/** An http source and an http destination between a user and a service. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { Agent, get, type IncomingMessage, request, type ServerResponse } from "node:http"
import { connect } from "node:net"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { closedPort } from "../World.ts"
import { eventually, httpUrl, raw, startHttpService, startProxy } from "./tunnel.ts"

/** Large tests on a busy machine. */
const FULL_MILLIS = 180_000

const told = (req: IncomingMessage, res: ServerResponse) =>
  res.end(JSON.stringify({ method: req.method, url: req.url, headers: req.headers, raw: req.rawHeaders }))

const fetchJson = (port: number, path: string, init?: RequestInit) =>
  Effect.promise(
    async () =>
      (await (await fetch(`http://127.0.0.1:${port}${path}`, init)).json()) as Pick<IncomingMessage, "url" | "headers">
  )

it.live("paths and queries are joined on both ends, and Host is what upstream makes of it", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(told)
    const { port } = yield* startProxy(service.port, {
      source: { basePath: "/outer/" },
      destination: { url: httpUrl(service.port, "/base", "key=1") }
    })
    const seen = yield* fetchJson(port, "/a%20b/c?x=%2F")
    assert.strictEqual(seen.url, "/base/outer/a%20b/c?key=1&x=%2F")
    assert.strictEqual(seen.headers.host, `127.0.0.1:${service.port}`)
    assert.strictEqual(seen.headers["x-forwarded-host"], `127.0.0.1:${port}`)
  })
)

it.live("Host is kept where it is asked for", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(told)
    const { port } = yield* startProxy(service.port, {
      source: { preserveHost: true },
      destination: { preserveHost: true }
    })
    assert.strictEqual((yield* fetchJson(port, "/")).headers.host, `127.0.0.1:${port}`)
  })
)

it.live("the user's address is told once, behind what earlier proxies said", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(told)
    const { port } = yield* startProxy(service.port)
    const { headers } = yield* fetchJson(port, "/", { headers: { "X-Forwarded-For": "203.0.113.9" } })
    assert.strictEqual(headers["x-forwarded-for"], "203.0.113.9, 127.0.0.1")
    assert.strictEqual(headers["x-forwarded-proto"], "http")
    assert.strictEqual(headers.forwarded, `for=203.0.113.9, for=127.0.0.1;host="127.0.0.1:${port}";proto=http`)
  })
)

it.live("fields of a hop stay on it, in both directions, and all others pass in their order", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => {
      res.setHeader("Set-Cookie", ["a=1", "b=2"])
      res.setHeader("Connection", "X-Secret, keep-alive")
      res.setHeader("X-Secret", "1")
      told(req, res)
    })
    const { port } = yield* startProxy(service.port)
    const reply = yield* raw(
      port,
      "GET / HTTP/1.1\r\nHost: h\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nConnection: close, X-Drop\r\nX-Drop: 1\r\nKeep-Alive: 5\r\nProxy-Authorization: x\r\nTE: trailers\r\n\r\n"
    )
    const [head = "", body = ""] = reply.split("\r\n\r\n")
    assert.match(head, /Set-Cookie: a=1\r\nSet-Cookie: b=2/)
    assert.notMatch(head, /X-Secret/i)
    assert.match(body, /"X-B","1","x-a","2","X-B","3"/)
    assert.notMatch(body, /drop|proxy-auth|"keep-alive":/i)
    assert.match(body, /"te":"trailers"/)
  })
)

it.live("bodies stream in both directions at once, and trailers follow them", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => {
      res.writeHead(200, { Trailer: "X-Sum" })
      req.pipe(res, { end: false })
      req.on("end", () => {
        res.addTrailers({ "X-Sum": String(req.trailers["x-in"]) })
        res.end()
      })
    })
    const { port } = yield* startProxy(service.port)
    const trailers = yield* Effect.promise(async () => {
      const out = request({
        port,
        host: "127.0.0.1",
        method: "POST",
        headers: { "Transfer-Encoding": "chunked", Trailer: "X-In" }
      })
      out.write("first")
      const [answer] = (await once(out, "response")) as [IncomingMessage]
      // Nothing more is written before this was echoed.
      assert.strictEqual(String((await once(answer, "data"))[0]), "first")
      out.addTrailers({ "X-In": "7" })
      out.end("second")
      let rest = ""
      for await (const part of answer) rest += part
      assert.strictEqual(rest, "second")
      return answer.trailers
    })
    assert.strictEqual(trailers["x-sum"], "7")
  })
)

it.live("a body of a GET keeps its frame: nothing of it becomes a request", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => {
      let body = ""
      req.on("data", (part) => {
        body += part
      })
      req.on("end", () => res.end(`${req.method} ${body}`))
    })
    const { port } = yield* startProxy(service.port)
    const hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    const chunked = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`
    const reply = yield* raw(
      port,
      `GET /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}DELETE /2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${hidden.length}\r\n\r\n${hidden}`
    )
    assert.include(reply, `GET ${hidden}`)
    assert.include(reply, `DELETE ${hidden}`)
    assert.deepStrictEqual(service.seen, ["GET /1", "DELETE /2"])
  })
)

it.live("100 comes from the service, and so do early hints and an answer before the body", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(
      (req, res) => {
        if (req.url === "/hints") res.writeInformation(103, { Link: "</a.css>; rel=preload" })
        res.end("done")
      },
      (server) =>
        server.on("checkContinue", (req, res) => {
          if (req.url === "/no") return res.writeHead(413).end("too large")
          res.writeContinue()
          req.pipe(res)
        })
    )
    const { port } = yield* startProxy(service.port)
    const ask = (path: string) =>
      Effect.promise(async () => {
        const out = request({ port, host: "127.0.0.1", path, method: "PUT", headers: { Expect: "100-continue" } })
        let continued = false
        out.on("continue", () => {
          continued = true
          out.end("body")
        })
        out.flushHeaders()
        const [answer] = (await once(out, "response")) as [IncomingMessage]
        let body = ""
        for await (const part of answer) body += part
        out.destroy()
        return { status: answer.statusCode, continued, body }
      })
    assert.deepStrictEqual(yield* ask("/yes"), { status: 200, continued: true, body: "body" })
    assert.deepStrictEqual(yield* ask("/no"), { status: 413, continued: false, body: "too large" })
    const reply = yield* raw(port, "GET /hints HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert.match(reply, /^HTTP\/1.1 103 Early Hints\r\nlink: <\/a.css>; rel=preload\r\n\r\nHTTP\/1.1 200 OK/)
  })
)

it.live("a user who has finished sending gets his answer", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => req.pipe(res))
    const { port } = yield* startProxy(service.port)
    const reply = yield* raw(port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody", { end: true })
    assert.match(reply, /^HTTP\/1.1 200 OK[\s\S]*body/)
  })
)

it.live("an upgrade joins user and service, with each half ended by itself", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(told, (server) =>
      server.on("upgrade", (_req, socket) => {
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Own: 1\r\n\r\nhi,")
        let text = ""
        socket.on("data", (part: Buffer) => {
          text += part
        })
        socket.on("end", () => socket.end(`you said ${text}`))
      })
    )
    const { port } = yield* startProxy(service.port)
    const reply = yield* raw(port, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly", {
      end: true
    })
    assert.match(reply, /^HTTP\/1.1 101 [\s\S]*X-Own: 1[\s\S]*\r\n\r\nhi,you said early$/)
  })
)

it.live("an upgrade that the service declines is answered as any request, h2c is not asked for", () =>
  Effect.gen(function* () {
    const body = randomBytes(300_000).toString("hex")
    const service = yield* startHttpService((req, res) => res.end(req.headers.upgrade === undefined ? "plain" : body))
    const { port } = yield* startProxy(service.port)
    const head = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close"
    const declined = yield* raw(port, `${head}\r\nUpgrade: other\r\n\r\n`)
    assert.isTrue(declined.endsWith(body))
    assert.match(yield* raw(port, `${head}, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\nUpgrade: h2c\r\n\r\n`), /plain/)
  })
)

it.live("an answer that is cut at the service is cut for the user, too", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => {
      if (req.url === "/length") res.writeHead(200, { "Content-Length": 100 })
      res.write("part")
      setImmediate(() => res.socket?.resetAndDestroy())
    })
    const { port } = yield* startProxy(service.port)
    for (const path of ["/length", "/chunked"]) {
      const failed = yield* Effect.promise(() =>
        fetch(`http://127.0.0.1:${port}${path}`)
          .then((response) => response.text())
          .then(
            () => false,
            () => true
          )
      )
      assert.isTrue(failed, path)
    }
  })
)

it.live("a request that its user cuts is cut at the service, and no stream stays", () =>
  Effect.gen(function* () {
    let cut: () => void = () => {}
    const lost = new Promise<void>((resolve) => {
      cut = resolve
    })
    let begun: () => void = () => {}
    const reached = new Promise<void>((resolve) => {
      begun = resolve
    })
    const service = yield* startHttpService((req) => {
      begun()
      req.on("error", cut).resume()
    })
    const { port, streams } = yield* startProxy(service.port)
    const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
    user.write("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    yield* Effect.promise(() => reached)
    user.resetAndDestroy()
    yield* Effect.timeout(
      Effect.promise(() => lost),
      "5 seconds"
    )
    yield* eventually(() => streams.size === 0, "the stream of the tunnel ends")
  })
)

it.live(
  "a large body arrives whole in both directions",
  () =>
    Effect.gen(function* () {
      const service = yield* startHttpService((req, res) => req.pipe(res))
      const { port } = yield* startProxy(service.port)
      const piece = randomBytes(1 << 20)
      const pieces = process.env.CONNET_TEST_FULL ? 256 : 16
      const expected = createHash("sha256")
      for (let n = 0; n < pieces; n++) expected.update(piece)
      const hash = yield* Effect.promise(async () => {
        const body = (async function* () {
          for (let n = 0; n < pieces; n++) yield piece
        })()
        const init = { method: "POST", body, duplex: "half" } as unknown as RequestInit
        const response = await fetch(`http://127.0.0.1:${port}/`, init)
        const hash = createHash("sha256")
        for await (const part of response.body!) hash.update(part)
        return hash.digest("hex")
      })
      assert.strictEqual(hash, expected.digest("hex"))
    }),
  FULL_MILLIS
)

it.live("a kept connection that the service has closed costs no request", () =>
  Effect.gen(function* () {
    // It says nothing of how long it keeps connections, and closes each after its first answer.
    const service = yield* startHttpService((_req, res) => {
      const { socket } = res
      res.on("finish", () => setImmediate(() => socket?.destroy()))
      res.end("fine")
    })
    const { port } = yield* startProxy(service.port)
    for (let n = 0; n < 50; n++) {
      const response = yield* Effect.promise(() => fetch(`http://127.0.0.1:${port}/`))
      assert.strictEqual(response.status, 200)
      yield* Effect.promise(() => response.text())
    }
  })
)

const FULL = process.env.CONNET_TEST_FULL !== undefined
const [SEQUENTIAL, CONCURRENT] = FULL ? [10_000, 1_000] : [1_000, 100]

it.live(
  `${SEQUENTIAL} requests one after the other and ${CONCURRENT} at once leave nothing open`,
  () =>
    Effect.gen(function* () {
      const service = yield* startHttpService((_req, res) => res.end("fine"))
      const { port, streams, dials } = yield* startProxy(service.port)
      const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT })
      const ask = () =>
        new Promise<string>((resolve, reject) => {
          get({ port, host: "127.0.0.1", agent }, (answer) => {
            let body = ""
            answer.on("data", (part) => {
              body += part
            })
            answer.on("end", () => resolve(body))
          }).on("error", reject)
        })
      for (let n = 0; n < SEQUENTIAL; n++) {
        yield* Effect.promise(async () => assert.strictEqual(await ask(), "fine"))
      }
      assert.isBelow(service.connections(), 5)
      const together = yield* Effect.promise(() => Promise.all(Array.from({ length: CONCURRENT }, ask)))
      assert.deepStrictEqual(new Set(together), new Set(["fine"]))
      assert.strictEqual(dials(), SEQUENTIAL + CONCURRENT)
      yield* eventually(() => streams.size === 0, "all streams end")
      yield* eventually(() => service.sockets.size <= 64, "no more connections are kept than may be")
      agent.destroy()
    }),
  FULL_MILLIS
)

it.live("a service that refuses is named as such, in the form that the user prefers", () =>
  Effect.gen(function* () {
    const { port } = yield* startProxy(yield* closedPort)
    const ask = (accept: string) =>
      Effect.promise(async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { Accept: accept } })
        return { status: response.status, type: response.headers.get("content-type"), body: await response.text() }
      })
    const plain = yield* ask("*/*")
    assert.strictEqual(plain.status, 502)
    assert.strictEqual(plain.type, "text/plain; charset=utf-8")
    assert.match(plain.body, /service behind it refused/)
    assert.notMatch(plain.body, /127\.0\.0\.1|ECONN/)
    const html = yield* ask("text/html,application/xhtml+xml,*/*;q=0.8")
    assert.strictEqual(html.type, "text/html; charset=utf-8")
    assert.match(html.body, /<h1>502 Service not reached<\/h1>/)
  })
)
