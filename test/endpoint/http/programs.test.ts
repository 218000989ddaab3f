/** Programs of others at both ends: curl, a WebSocket client, a service with TLS. */
import { execFile, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer as createTlsService } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { WebSocket, WebSocketServer } from "ws"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import { makePersons } from "../persons.ts"
import { httpUrl, securely, startHttpService, startProxy } from "./tunnel.ts"

const version = spawnSync("curl", ["--version"], { encoding: "utf8" }).stdout ?? ""
if (version === "") console.warn("tests with curl are skipped: there is no curl")
else if (!/HTTP2/.test(version)) console.warn("the test with HTTP/2 of curl is skipped: it was built without")

const withCurl = version === "" ? it.live.skip : it.live
const withHttp2 = /HTTP2/.test(version) ? it.live : it.live.skip

const curl = (...args: ReadonlyArray<string>) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        execFile("curl", ["-sS", "--max-time", "180", ...args], { maxBuffer: 1 << 28 }, (error, out, err) =>
          error === null ? resolve(out) : reject(new Error(err))
        )
      })
  )

const folder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "connet-curl-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true }))
)

withCurl(
  "curl uploads a file, asked whether it may with Expect, and gets it back",
  () =>
    Effect.gen(function* () {
      const service = yield* startHttpService((req, res) => {
        res.setHeader("X-Expect", String(req.headers.expect))
        req.pipe(res)
      })
      const { port } = yield* startProxy(service.port)
      const at = yield* folder
      const bytes = randomBytes((process.env.CONNET_TEST_FULL ? 256 : 16) << 20)
      yield* Effect.promise(() => writeFile(join(at, "in"), bytes))
      const told = yield* curl(
        ...["-T", join(at, "in"), "-H", "Expect: 100-continue", "-o", join(at, "out")],
        ...["-w", "%{http_code} %{header_json}", `http://127.0.0.1:${port}/file`]
      )
      assert.match(told, /^200 /)
      assert.match(told, /"x-expect":\["100-continue"\]/)
      const back = yield* Effect.promise(() => readFile(join(at, "out")))
      const hash = (data: Buffer) => createHash("sha256").update(data).digest("hex")
      assert.strictEqual(hash(back), hash(bytes))
    }),
  180_000
)

withHttp2("curl speaks HTTP/2 with an https source", () =>
  Effect.gen(function* () {
    const identity = yield* (yield* makeAuthority()).issueServer(["localhost"])
    const service = yield* startHttpService((req, res) => req.pipe(res))
    const { port } = yield* startProxy(service.port, {
      source: { listen: securely(identity) }
    })
    const text = yield* curl(
      "-k",
      "--http2",
      "-d",
      "hello",
      "-w",
      " %{http_version} %{http_code}",
      `https://localhost:${port}/`
    )
    assert.strictEqual(text, "hello 2 200")
  })
)

it.live("a WebSocket passes through both ends, with messages of both kinds both ways", () =>
  Effect.gen(function* () {
    const service = yield* startHttpService(
      (_req, res) => res.end(),
      (server) =>
        new WebSocketServer({ server }).on("connection", (socket, req) => {
          socket.send(String(req.headers["x-forwarded-for"]))
          socket.on("message", (message, isBinary) => socket.send(message, { binary: isBinary }))
        })
    )
    const { port, streams } = yield* startProxy(service.port)
    const echoes = yield* Effect.promise(
      () =>
        new Promise<Array<string>>((resolve, reject) => {
          const user = new WebSocket(`ws://127.0.0.1:${port}/chat?x`)
          const got: Array<string> = []
          user.on("error", reject)
          user.on("open", () => {
            user.send("text")
            user.send(Buffer.alloc(100_000, 1))
            user.send("last")
          })
          user.on("message", (message, isBinary) => {
            got.push(isBinary ? `binary ${(message as Buffer).length}` : String(message))
            if (got.length === 4) user.close(4_001, "bye")
          })
          user.on("close", (code) => resolve([...got, String(code)]))
        })
    )
    assert.deepStrictEqual(echoes, ["127.0.0.1", "text", "binary 100000", "last", "4001"])
    assert.isAtMost(streams.size, 1)
  })
)

it.live("an https service is believed by its roots only, and gets our certificate", () =>
  Effect.gen(function* () {
    const authority = yield* makeAuthority()
    const server = yield* authority.issueServer(["localhost", "127.0.0.1"])
    const persons = yield* makePersons()
    const identity = yield* persons.issue("proxy")
    const service = createTlsService(
      {
        cert: server.certificatePem,
        key: Redacted.value(server.privateKeyPem),
        ca: persons.certificatePem,
        requestCert: true,
        rejectUnauthorized: false
      },
      (req, res) => {
        const { subject } = (req.socket as import("node:tls").TLSSocket).getPeerCertificate()
        res.end(`for ${subject?.CN ?? "nobody"}`)
      }
    )
    yield* Effect.acquireRelease(
      Effect.promise(() => once(service.listen(0, "127.0.0.1"), "listening")),
      () =>
        Effect.sync(() => {
          service.close()
          service.closeAllConnections()
        })
    )
    const { port: servicePort } = service.address() as AddressInfo
    const ask = Effect.fnUntraced(function* (tls: Parameters<typeof startProxy>[1]) {
      const { port } = yield* startProxy(servicePort, tls)
      return yield* Effect.promise(async () => {
        const answer = await fetch(`http://127.0.0.1:${port}/`)
        return `${answer.status} ${(await answer.text()).split("\n")[0]}`
      })
    })
    const url = httpUrl(servicePort, "", "", "https")
    const with_ = (tls: object) => ({ destination: { url, tls: { trust: undefined, identity: undefined, ...tls } } })
    assert.strictEqual(yield* ask(with_({ trust: [authority.certificatePem], identity })), "200 for proxy")
    assert.strictEqual(yield* ask(with_({ trust: "anyone" })), "200 for nobody")
    assert.strictEqual(yield* ask(with_({})), "502 502 Service not reached")
  })
)
