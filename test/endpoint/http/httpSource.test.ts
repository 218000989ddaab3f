/** What users of an http source see besides answers: why there are none, limits, TLS. */
import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { connect as connectHttp2 } from "node:http2"
import { request as requestTls } from "node:https"
import { connect } from "node:net"
import { duplexPair } from "node:stream"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import { httpDestination } from "../../../src/endpoint/http/httpDestination.ts"
import type { Dial } from "../../../src/endpoint/http/httpSource.ts"
import { ConnectFailed, PeerError, PeerUnreachable } from "../../../src/peer/PeerError.ts"
import { makePersons } from "../persons.ts"
import { closedPort } from "../World.ts"
import {
  eventually,
  httpUrl,
  quiet,
  raw,
  securely,
  startHttpService,
  startProxy,
  startSource,
  tunnelTo
} from "./tunnel.ts"

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

const failing = (reason: PeerError["reason"]): Dial => Effect.fail(new PeerError({ reason }))

const cases: ReadonlyArray<[string, PeerError["reason"], number, RegExp]> = [
  [
    "no destination",
    new PeerUnreachable({ endpoint: "web", peers: 0, afterMillis: 1 }),
    502,
    /No destination of "web" is online/
  ],
  [
    "dials that failed",
    new ConnectFailed({ endpoint: "web", causes: ["10.0.0.1:2: lost"] }),
    502,
    /none of them could be reached/
  ],
  [
    "a service that refused",
    new ConnectFailed({ endpoint: "web", causes: ["10.0.0.1:2: cannot reach (code 501)"] }),
    502,
    /service behind it refused/
  ],
  [
    "dials that took too long",
    new PeerUnreachable({ endpoint: "web", peers: 2, afterMillis: 1 }),
    504,
    /none of them answered in time/
  ]
]

for (const [what, reason, status, text] of cases) {
  it.live(`users are told of ${what}`, () =>
    Effect.gen(function* () {
      const port = yield* startSource(failing(reason))
      const reply = yield* raw(port, GET)
      assert.match(reply, new RegExp(`^HTTP/1.1 ${status} `))
      assert.match(reply, text)
      assert.notInclude(reply, "10.0.0.1")
    }).pipe(Effect.provide(quiet))
  )
}

it.live("a request that nobody answered is asked of somebody else, if it does no harm twice", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => req.pipe(res))
    const tunnel = yield* tunnelTo(yield* httpDestination({ name: "web", url: httpUrl(service.port) }))
    let dials = 0
    const flaky: Dial = Effect.suspend(() => {
      dials++
      if (dials % 2 === 0) return tunnel.dial
      const [near, far] = duplexPair()
      far.once("data", () => {
        near.destroy(new Error("lost"))
        far.destroy()
      })
      return Effect.succeed({ stream: near.on("error", () => {}), path: undefined as never, proxy: "none" as const })
    })
    const port = yield* startSource(flaky)
    assert.match(yield* raw(port, GET), /^HTTP\/1.1 200 /)
    assert.strictEqual(dials, 2)
    const post = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nab"
    assert.match(yield* raw(port, post), /^HTTP\/1.1 502 /)
    assert.strictEqual(dials, 3)
  }).pipe(Effect.provide(quiet))
)

it.live("heads that take too long are answered 408, and connections without a request are closed", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((_req, res) => res.end("fine"))
    const { port } = yield* startProxy(service.port, { source: { limits: { headMillis: 200, idleMillis: 200 } } })
    assert.match(yield* raw(port, "GET / HTTP/1.1\r\nHost: h\r\n"), /^HTTP\/1.1 408 /)
    assert.match(yield* raw(port, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), /fine/)
    assert.deepStrictEqual(service.seen, ["GET /"])
  })
)

it.live("what stands still is ended by whoever is waited for, what moves slowly is not", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService((req, res) => {
      if (req.url === "/silent") return
      if (req.url === "/events") {
        res.write("first ")
        setTimeout(() => res.end("last"), 600)
        return
      }
      if (req.url === "/whole") {
        req.resume().on("end", () => res.end("whole"))
        return
      }
      req.pipe(res)
    })
    const limits = { stallMillis: 300, answerMillis: 300 }
    const { port, streams } = yield* startProxy(service.port, { source: { limits }, destination: { limits } })
    const get = (path: string) => raw(port, `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`)
    const post = "POST /whole HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 8\r\n\r\n"
    const slowly = Effect.callback<string>((resume) => {
      const socket = connect({ port, host: "127.0.0.1" }).on("error", () => {})
      let reply = ""
      socket.write(post)
      let sent = 0
      const timer = setInterval(() => {
        socket.write("x")
        sent++
        if (sent === 8) clearInterval(timer)
      }, 100)
      socket.on("data", (part) => {
        reply += part
      })
      socket.on("close", () => resume(Effect.succeed(reply)))
    })
    const [silent, events, stuck, slow] = yield* Effect.all(
      [get("/silent"), get("/events"), raw(port, `${post}x`), slowly],
      {
        concurrency: "unbounded"
      }
    )
    assert.match(silent, /^HTTP\/1.1 504 [\s\S]*did not answer in time/)
    assert.match(events, /^HTTP\/1.1 200 [\s\S]*first [\s\S]*last/)
    assert.match(stuck, /^HTTP\/1.1 408 /)
    assert.match(slow, /^HTTP\/1.1 200 [\s\S]*whole/)
    yield* eventually(() => streams.size === 0, "all streams end")
  })
)

it.live("more requests than there is room for are told to come again", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(() => {})
    const { port } = yield* startProxy(service.port, { source: { limits: { requests: 2, connections: 3 } } })
    const users = [1, 2].map(() => connect({ port, host: "127.0.0.1" }).on("error", () => {}))
    for (const user of users) user.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    yield* eventually(() => service.seen.length === 2, "both are being answered")
    assert.match(yield* raw(port, GET), /^HTTP\/1.1 503 [\s\S]*Retry-After: 1/)
    const third = connect({ port, host: "127.0.0.1" }).on("error", () => {})
    yield* Effect.promise(() => once(third, "connect"))
    assert.strictEqual(yield* raw(port, GET), "")
    for (const user of [...users, third]) user.destroy()
  })
)

it.live("users with TLS have HTTP/2 and HTTP/1.1, and the service learns that it was TLS", () =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const listen = securely(yield* authority.issueServer(["localhost"]))
    const service = yield* startHttpService((req, res) => {
      if (req.url === "/hints") res.writeInformation(103, { Link: "</a>; rel=preload" })
      res.writeHead(200, { Trailer: "X-Sum", "Set-Cookie": ["a=1", "b=2"] })
      res.write(JSON.stringify({ headers: req.headers, method: req.method }))
      req.on("data", (part) => res.write(part))
      req.on("end", () => {
        res.addTrailers({ "X-Sum": String(req.trailers["x-in"] ?? "none") })
        res.end()
      })
    })
    const { port, streams } = yield* startProxy(service.port, { source: { listen } })
    const seen = yield* Effect.promise(async () => {
      const session = connectHttp2(`https://localhost:${port}`, { ca: authority.certificatePem })
      const out = session.request({ ":method": "POST", ":path": "/hints", "x-own": "1", te: "trailers" }, {
        waitForTrailers: true
      } as never)
      out.on("wantTrailers", () => out.sendTrailers({ "x-in": "7" }))
      out.end("a body")
      const hints: Array<unknown> = []
      out.on("headers", (headers) => hints.push(headers.link))
      const [headers] = await once(out, "response")
      let trailers: Record<string, unknown> = {}
      out.on("trailers", (fields) => {
        trailers = fields
      })
      let body = ""
      for await (const part of out) body += part
      const many = Array.from({ length: 100 }, async () => {
        const each = session.request({ ":path": "/" })
        const [{ ":status": status }] = await once(each, "response")
        await once(each.resume(), "close")
        return status
      })
      const statuses = new Set(await Promise.all(many))
      session.close()
      return { headers, trailers, body, hints, statuses }
    })
    assert.deepInclude(seen.headers, { ":status": 200, "set-cookie": ["a=1", "b=2"] })
    assert.deepStrictEqual(seen.hints, ["</a>; rel=preload"])
    assert.strictEqual(seen.trailers["x-sum"], "7")
    assert.match(seen.body, /"x-forwarded-proto":"https".*a body$/)
    assert.include(seen.body, `"x-forwarded-host":"localhost:${port}"`)
    assert.deepStrictEqual(seen.statuses, new Set([200]))
    const version = yield* Effect.promise(async () => {
      const out = requestTls({ port, host: "localhost", ca: authority.certificatePem, agent: false }).end()
      const [answer] = (await once(out, "response")) as [IncomingMessage]
      await once(answer.resume(), "end")
      return answer.httpVersion
    })
    assert.strictEqual(version, "1.1")
    yield* eventually(() => streams.size === 0, "all streams end")
  })
)

it.live("a user of HTTP/2 learns when an answer was cut, and a service when its user left", () =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const listen = securely(yield* authority.issueServer(["localhost"]))
    let lost = false
    const service = yield* startHttpService((req, res) => {
      res.write("part")
      if (req.url === "/cut") setImmediate(() => res.socket?.resetAndDestroy())
      else
        res.on("close", () => {
          lost = true
        })
    })
    const { port, streams } = yield* startProxy(service.port, { source: { listen } })
    yield* Effect.promise(async () => {
      const session = connectHttp2(`https://localhost:${port}`, { ca: authority.certificatePem })
      const cut = session.request({ ":path": "/cut" }).on("error", () => {})
      cut.resume()
      await once(cut, "close").catch(() => {})
      assert.notStrictEqual(cut.rstCode, 0)
      const left = session.request({ ":path": "/left" }).on("error", () => {})
      await once(left, "data")
      left.close(8)
      await once(left, "close")
      session.destroy()
    })
    yield* eventually(() => lost && streams.size === 0, "the service is let go")
  })
)

it.live("users without a certificate do not get in where one is asked for", () =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const identity = yield* authority.issueServer(["localhost"])
    const persons = yield* makePersons()
    const user = yield* persons.issue("somebody")
    const service = yield* startHttpService((_req, res) => res.end("fine"))
    const { port } = yield* startProxy(service.port, {
      source: { listen: securely(identity, [persons.certificatePem]) }
    })
    const ask = (certificate: object) =>
      Effect.promise(async () => {
        const out = requestTls({
          port,
          host: "localhost",
          ca: authority.certificatePem,
          agent: false,
          ...certificate
        }).end()
        out.on("error", () => {})
        const [answer] = await once(out, "response").catch(() => [undefined])
        answer?.destroy()
        return answer?.statusCode
      })
    assert.isUndefined(yield* ask({}))
    const shown = { cert: user.certificatePem, key: Redacted.value(user.privateKeyPem) }
    assert.strictEqual(yield* ask(shown), 200)
    assert.deepStrictEqual(service.seen, ["GET /"])
  })
)

it.live("what a source has open ends with it", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(() => {})
    const user = yield* Effect.scoped(
      Effect.gen(function* () {
        const { port } = yield* startProxy(service.port)
        const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
        user.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        yield* eventually(() => service.seen.length === 1, "it is being answered")
        return user
      })
    )
    yield* eventually(() => user.destroyed && service.sockets.size === 0, "everything ends")
  })
)

it.live("a destination says before it takes a stream that its service is not there", () =>
  Effect.gen(function* () {
    const { reach } = yield* httpDestination({ name: "web", url: httpUrl(yield* closedPort) })
    assert.match((yield* Effect.flip(reach)).message, /ECONNREFUSED/)
    const service = yield* startHttpService((_req, res) => res.end("fine"))
    const there = yield* httpDestination({ name: "web", url: httpUrl(service.port) })
    yield* there.reach
    yield* there.reach
    const { dial } = yield* tunnelTo(there)
    const port = yield* startSource(dial)
    assert.match(yield* raw(port, GET), /fine/)
    // What was dialed ahead was used.
    assert.strictEqual(service.connections(), 1)
  }).pipe(Effect.provide(quiet))
)
