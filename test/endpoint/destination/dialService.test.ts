import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Logger, Redacted, Scope } from "effect"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import type { Identity } from "../../../src/certs/Identity.ts"
import { dialService, type Service, type TlsService } from "../../../src/endpoint/destination/dialService.ts"
import { makePersons } from "../persons.ts"
import { closedPort, named, startService } from "../World.ts"

const TIMEOUT = Duration.seconds(5)

/** Says something to a service, finishes, and reads until its end. */
const ask = (service: Service, said = "hello", timeout = TIMEOUT) =>
  Effect.flatMap(dialService(service, timeout), (stream) => Effect.promise(() => text(stream.end(said)))).pipe(
    Effect.scoped
  )

const refusal = (service: Service, timeout = TIMEOUT) =>
  Effect.map(Effect.flip(Effect.scoped(dialService(service, timeout))), ({ message }) => message)

const keys = ({ certificatePem: cert, privateKeyPem }: Identity) => ({ cert, key: Redacted.value(privateKeyPem) })

/** A service behind TLS, which keeps its read half open as ours do. */
const startTlsService = (options: TlsOptions, serve: (socket: TLSSocket) => void) => {
  const tls = createTlsServer(options, (socket) => serve(socket.on("error", () => {})))
  return startService((socket) => void tls.emit("connection", socket))
}

const makeTls = Effect.gen(function* () {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost"])
  const service = (port: number, more: Partial<TlsService> = {}): TlsService => ({
    _tag: "tls",
    host: "localhost",
    port,
    trust: [authority.certificatePem],
    identity: undefined,
    ...more
  })
  return { authority, identity, service }
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-service-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const HAS_OPENSSL = spawnSync("openssl", ["version"]).status === 0
if (!HAS_OPENSSL) console.info("skipped: there is no openssl to be the service (apt-get install openssl)")

layer(Logger.layer([]), { excludeTestServices: true })("a service", (it) => {
  it.effect("is reached over TCP, and may answer after our end", () =>
    Effect.gen(function* () {
      const port = yield* startService(named("tcp"))
      assert.strictEqual(yield* ask({ _tag: "tcp", host: "127.0.0.1", port }), "tcp:hello")
    })
  )

  it.effect("is reached over a Unix socket, and may answer after our end", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      const server = createServer({ allowHalfOpen: true }, named("unix")).listen(path)
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      yield* Effect.promise(() => once(server, "listening"))
      assert.strictEqual(yield* ask({ _tag: "unix", path }), "unix:hello")
    })
  )

  it.effect("is reached over TLS, and may answer after our end", () =>
    Effect.gen(function* () {
      const { identity, service } = yield* makeTls
      let asked: unknown
      const port = yield* startTlsService(keys(identity), (socket) => {
        asked = (socket as { servername?: unknown }).servername
        named("tls")(socket)
      })
      assert.strictEqual(yield* ask(service(port)), "tls:hello")
      assert.strictEqual(asked, "localhost")
    })
  )

  it.effect("gets our certificate when it asks for one", () =>
    Effect.gen(function* () {
      const { identity, service } = yield* makeTls
      const persons = yield* makePersons()
      const port = yield* startTlsService(
        { ...keys(identity), ca: persons.certificatePem, requestCert: true, rejectUnauthorized: true },
        (socket) => named(String(socket.getPeerCertificate().subject.CN))(socket)
      )
      assert.strictEqual(yield* ask(service(port, { identity: yield* persons.issue("ann") })), "ann:hello")
    })
  )

  it.effect("is refused when its certificate is not trusted or not for its name, unless told otherwise", () =>
    Effect.gen(function* () {
      const { identity, service, authority } = yield* makeTls
      const port = yield* startTlsService(keys(identity), named("tls"))
      const other = [(yield* makeAuthority()).certificatePem]
      assert.match(
        yield* refusal(service(port, { trust: other })),
        /^the certificate of the service at localhost:\d+ is not trusted \([A-Z_]+\); set cas-file of the destination to/
      )
      assert.match(
        yield* refusal(service(port, { host: "127.0.0.1" })),
        /is not for 127\.0\.0\.1 \(.*\); write a name that it has into the url of the destination$/
      )
      const old = yield* authority.issueServer(["localhost"], { notBefore: new Date(0), notAfter: new Date(1_000) })
      const expired = yield* startTlsService(keys(old), named("tls"))
      assert.match(yield* refusal(service(expired)), /is not valid now \(CERT_HAS_EXPIRED\); renew it/)
      assert.strictEqual(yield* ask(service(port, { host: "127.0.0.1", trust: "anyone" })), "tls:hello")
    })
  )

  it.effect("that does not speak TLS is told from one that is not there", () =>
    Effect.gen(function* () {
      const { service } = yield* makeTls
      const port = yield* startService((socket) => socket.end("SSH-2.0-OpenSSH_9.9\r\n"))
      assert.match(yield* refusal(service(port)), /^no TLS with .*it does not speak TLS; write tcp:\/\//)
      assert.match(
        yield* refusal(service(yield* closedPort)),
        /: ECONNREFUSED, nobody listens there; start the service/
      )
    })
  )

  it.effect("that is no socket, or whose process is gone, is explained", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      assert.strictEqual(
        yield* refusal({ _tag: "unix", path }),
        `cannot reach the service at unix:${path}: ENOENT, there is no such socket; start the service, or correct the url of the destination`
      )
      writeFileSync(path, "")
      assert.match(yield* refusal({ _tag: "unix", path }), /ECONNREFUSED, nobody listens there/)
    })
  )

  it.effect("that accepts and does not answer the handshake takes as long as the dial timeout, not longer", () =>
    Effect.gen(function* () {
      const { service } = yield* makeTls
      const port = yield* startService(() => {})
      const startedAt = performance.now()
      assert.match(yield* refusal(service(port), Duration.millis(300)), /timed out, it does not answer/)
      assert.isBelow(performance.now() - startedAt, 2_000)
    })
  )

  it.effect("is reset with the Scope, over TLS too", () =>
    Effect.gen(function* () {
      const { identity, service } = yield* makeTls
      const { promise: lost, resolve } = Promise.withResolvers<string | undefined>()
      const port = yield* startTlsService(keys(identity), (socket) => {
        socket.resume().once("error", ({ code }: NodeJS.ErrnoException) => resolve(code))
        socket.once("end", () => resolve("end"))
        socket.write("ready")
      })
      const scope = yield* Scope.make()
      const stream = yield* dialService(service(port), TIMEOUT).pipe(Effect.provideService(Scope.Scope, scope))
      yield* Effect.promise(() => once(stream, "data"))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Effect.promise(() => lost), "ECONNRESET")
    })
  )

  it.effect.skipIf(!HAS_OPENSSL)("may be openssl, which asks for our certificate", () =>
    Effect.gen(function* () {
      const { identity, service } = yield* makeTls
      const persons = yield* makePersons()
      const path = yield* folder
      writeFileSync(join(path, "ca.pem"), persons.certificatePem)
      writeFileSync(join(path, "cert.pem"), keys(identity).cert)
      writeFileSync(join(path, "key.pem"), keys(identity).key, { mode: 0o600 })
      const server = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(
            "openssl",
            ["s_server", "-accept", "127.0.0.1:0", "-cert", "cert.pem", "-key", "key.pem", "-CAfile", "ca.pem"].concat([
              "-Verify",
              "1",
              "-verify_return_error",
              "-rev"
            ]),
            { cwd: path, stdio: ["ignore", "pipe", "ignore"] }
          )
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const port = yield* Effect.promise(async () => {
        let said = ""
        for await (const part of server.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
          said += part
          const accepting = /ACCEPT .*:(\d+)\n/.exec(said)
          if (accepting !== null) return Number(accepting[1])
        }
        return assert.fail(`openssl says: ${said}`)
      })
      server.stdout.resume()
      const identified = service(port, { identity: yield* persons.issue("ann") })
      const answer = yield* Effect.flatMap(dialService(identified, TIMEOUT), (stream) =>
        Effect.promise(async () => {
          stream.write("hello\n")
          const [part] = await once(stream, "data")
          return String(part)
        })
      ).pipe(Effect.scoped)
      assert.strictEqual(answer, "olleh\n")
    })
  )
})
