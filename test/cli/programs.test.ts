/** Programs of others as users and as services, at both ends of tunnels of real processes. */
import { execFile, spawn, spawnSync } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Context, Data, Effect, Layer, Redacted, Schedule } from "effect"
import { makePersons } from "../endpoint/persons.ts"
import { full } from "../full.ts"
import { FOLDERS, lacks } from "../lab/programs.ts"
import { startClient } from "./clients.ts"
import { startProcess, startProgram, TookTooLong } from "./Process.ts"
import { freePort, stageFor } from "./Tunnel.ts"

const SKIPPED = lacks("tunnels with nginx, curl and openssl", { programs: ["nginx", "curl", "openssl"] })
const HTTP2 = !SKIPPED && /HTTP2/.test(spawnSync("curl", ["--version"], { encoding: "utf8" }).stdout)
if (!SKIPPED && !HTTP2) process.stdout.write("skipped: HTTP/2 of curl: it was built without\n")

const MIB = 1024 * 1024
const TEXT = "0123456789".repeat(1_000)
/** An address of users that no part of a tunnel has. */
const USER = "127.0.0.2"

class Failed extends Data.TaggedError("Failed")<{ readonly detail: string }> {}

/** nginx without a service around it: one process, everything in the folder. */
const nginxConfig = (proxied: number, plain: number) => `
daemon off; master_process off; pid nginx.pid; error_log stderr warn;
events {}
http {
  access_log off; client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  server { listen 127.0.0.1:${proxied} proxy_protocol; location / { return 200 "user $proxy_protocol_addr"; } }
  server { listen 127.0.0.1:${plain}; location / { return 200 "user $http_x_forwarded_for"; } }
}`

/** Says which hash a body has that is sent to it. */
const hashing = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer((req, res) => {
      const hash = createHash("sha256")
      req.on("data", (part) => hash.update(part)).on("end", () => res.end(hash.digest("hex")))
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
)

const VERSIONS = ["v1", "v2"] as const
const ROUTES = ["direct", "relay"] as const

interface Ends {
  readonly path: string
  /** Where the source of an endpoint listens. */
  readonly port: (endpoint: string) => number
  /** Runs curl in the folder until it works. */
  readonly curl: (...args: ReadonlyArray<string>) => Effect.Effect<string, TookTooLong>
}

class Stage extends Context.Service<Stage, Ends>()("test/Stage") {
  static readonly layer = Layer.effect(
    Stage,
    Effect.gen(function* () {
      const stage = yield* stageFor(1)
      const { path } = stage
      const [proxied, plain] = [yield* freePort, yield* freePort]
      writeFileSync(join(path, "nginx.conf"), nginxConfig(proxied, plain))
      mkdirSync(join(path, "tmp"))
      mkdirSync(join(path, "public"))
      writeFileSync(join(path, "public", "text.txt"), TEXT)
      const persons = yield* makePersons()
      const ann = yield* persons.issue("ann")
      writeFileSync(join(path, "persons.crt"), persons.certificatePem)
      writeFileSync(join(path, "ann.pem"), ann.certificatePem + Redacted.value(ann.privateKeyPem))

      const { port: hashes } = (yield* hashing).address() as AddressInfo
      const headers = VERSIONS.flatMap((version) =>
        ROUTES.map((route) => ({ version, route, name: `${version}-${route}` }))
      )
      const destinations = {
        ...Object.fromEntries(
          headers.map(({ version, route, name }) => [
            name,
            { url: `tcp://127.0.0.1:${proxied}`, "proxy-proto-version": version, route }
          ])
        ),
        requests: { url: `http://127.0.0.1:${plain}` },
        web: { url: `http://127.0.0.1:${plain}` },
        uploads: { url: `http://127.0.0.1:${hashes}` },
        files: { url: "file:public" },
        secure: { url: `tcp://127.0.0.1:${proxied}`, "proxy-proto-version": "v2" }
      }
      const ports = new Map<string, number>()
      for (const name of Object.keys(destinations)) ports.set(name, yield* freePort)
      const at = (scheme: string, name: string) => `${scheme}://127.0.0.1:${ports.get(name)}`
      const tls = { "cert-file": "server.crt", "key-file": "server.key" }
      const sources = {
        ...Object.fromEntries(headers.map(({ name, route }) => [name, { url: at("tcp", name), route }])),
        requests: { url: at("tcp", "requests") },
        web: { url: at("https", "web"), ...tls },
        uploads: { url: at("https", "uploads"), ...tls },
        files: { url: at("https", "files"), ...tls },
        secure: { url: at("tls", "secure"), ...tls, "cas-file": "persons.crt" }
      }
      yield* startProcess(["server", "--config", "server.toml"], path)
      const nginx = yield* startProgram(
        ["env", `PATH=${FOLDERS.join(":")}`, "nginx", "-e", "stderr", "-p", path, "-c", "nginx.conf"],
        path
      )
      const processes = [
        nginx,
        yield* startClient(stage, "destinations", { destinations }),
        yield* startClient(stage, "sources", { sources })
      ]
      const run = (args: ReadonlyArray<string>) =>
        Effect.callback<string, Failed>((resume) => {
          const options = ["-sS", "--fail", "--max-time", "120", "--cacert", "server.crt", ...args]
          const child = execFile("curl", options, { cwd: path }, (error, out, detail) =>
            resume(error === null ? Effect.succeed(out) : new Failed({ detail }))
          )
          return Effect.sync(() => void child.kill())
        })
      return {
        path,
        port: (endpoint) => ports.get(endpoint)!,
        // Who is online may not be reachable yet.
        curl: (...args) =>
          run(args).pipe(
            Effect.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 60 }))),
            Effect.mapError(
              ({ detail }) => new TookTooLong({ detail: `${detail}\n${processes.map(({ log }) => log()).join("\n")}` })
            )
          )
      } satisfies Ends
    })
  )
}

if (SKIPPED) layer(Layer.empty)("programs", (it) => it.skip("need nginx, curl and openssl", () => {}))
else {
  layer(Stage.layer, { excludeTestServices: true, timeout: "40 seconds" })("programs", (it) => {
    for (const version of VERSIONS) {
      for (const route of ROUTES) {
        it.effect(`nginx learns its user from a PROXY header, ${version}, ${route}`, () =>
          Effect.gen(function* () {
            const { curl, port } = yield* Stage
            const url = `http://127.0.0.1:${port(`${version}-${route}`)}/`
            assert.strictEqual(yield* curl("--interface", USER, url), `user ${USER}`)
          })
        )
      }
    }

    it.effect("nginx behind an http destination learns the user of a tcp source from X-Forwarded-For", () =>
      Effect.gen(function* () {
        const { curl, port } = yield* Stage
        assert.strictEqual(yield* curl("--interface", USER, `http://127.0.0.1:${port("requests")}/`), `user ${USER}`)
      })
    )

    for (const [option, version] of [["--http1.1", "1.1"], ...(HTTP2 ? [["--http2", "2"]] : [])] as const) {
      it.effect(`curl speaks HTTP/${version} with an https source`, () =>
        Effect.gen(function* () {
          const { curl, port } = yield* Stage
          const args = [option!, "--interface", USER, "-w", " over %{http_version}"]
          // The certificate is for the name.
          const url = `https://localhost:${port("web")}/`
          assert.strictEqual(yield* curl(...args, "-4", url), `user ${USER} over ${version}`)
        })
      )
    }

    it.effect("curl gets ranges of a file, and goes on with what it has", () =>
      Effect.gen(function* () {
        const { curl, port, path } = yield* Stage
        const url = `https://localhost:${port("files")}/text.txt`
        assert.strictEqual(yield* curl("-4", "-r", "5-14", "-w", " %{http_code}", url), "5678901234 206")
        writeFileSync(join(path, "part.txt"), TEXT.slice(0, 4_321))
        assert.strictEqual(yield* curl("-4", "-C", "-", "-o", "part.txt", "-w", "%{size_download}", url), "5679")
        assert.strictEqual(spawnSync("cmp", ["part.txt", "public/text.txt"], { cwd: path }).status, 0)
      })
    )

    it.effect(
      "curl uploads a large body",
      () =>
        Effect.gen(function* () {
          const { curl, port, path } = yield* Stage
          const body = randomBytes(full(256, 16) * MIB)
          writeFileSync(join(path, "body"), body)
          const hash = yield* curl("-4", "-T", "body", `https://localhost:${port("uploads")}/body`)
          assert.strictEqual(hash, createHash("sha256").update(body).digest("hex"))
        }),
      130_000
    )

    it.effect("openssl gets through a tls source with a certificate, and without one it does not", () =>
      Effect.gen(function* () {
        const { port, path } = yield* Stage
        const visit = (...shown: ReadonlyArray<string>) =>
          Effect.callback<string>((resume) => {
            const options = [
              "-servername",
              "localhost",
              "-CAfile",
              "server.crt",
              "-verify_return_error",
              "-quiet",
              ...shown
            ]
            const child = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port("secure")}`, ...options], {
              cwd: path
            })
            let said = ""
            const more = (text: string) => {
              said += text
            }
            child.stdout.setEncoding("utf8").on("data", more)
            child.stderr.setEncoding("utf8").on("data", more)
            child.stdin.on("error", () => {})
            child.stdin.write("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            child.once("close", () => resume(Effect.succeed(said)))
            return Effect.sync(() => void child.kill())
          })
        const reply = yield* visit("-cert", "ann.pem", "-key", "ann.pem").pipe(
          Effect.filterOrFail(
            (said) => said.includes("HTTP/1.1 200"),
            (detail) => new Failed({ detail })
          ),
          Effect.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 60 })))
        )
        assert.match(reply, /user 127\.0\.0\.1$/m)
        assert.notMatch(yield* visit(), /HTTP\/1\.1/)
      })
    )
  })
}
