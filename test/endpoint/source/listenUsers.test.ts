import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createConnection, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Readable } from "node:stream"
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from "node:tls"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Logger, Redacted, Scope } from "effect"
import { makeAuthority } from "../../../src/certs/Authority.ts"
import type { Identity } from "../../../src/certs/Identity.ts"
import type { EndpointError } from "../../../src/endpoint/EndpointError.ts"
import { type Listen, listenUsers } from "../../../src/endpoint/source/listenUsers.ts"
import { proxyHeader } from "../../../src/endpoint/source/proxyHeader.ts"
import type { User } from "../../../src/endpoint/source/User.ts"
import { abort } from "../../../src/internal/abort.ts"
import { makePersons } from "../persons.ts"

/** Listens; who comes, and who fails to, one after the other. */
const reception = Effect.fnUntraced(function* (listen: Listen) {
  const users: Array<User> = []
  const failures: Array<EndpointError> = []
  let changed = () => {}
  const address = yield* listenUsers("web", listen, {
    come: (user) => {
      users.push(user)
      changed()
    },
    failed: (error) => {
      failures.push(error)
      changed()
    }
  })
  const next = <A>(queue: Array<A>) =>
    Effect.callback<A>((resume) => {
      const look = () => {
        const first = queue.shift()
        if (first !== undefined) resume(Effect.succeed(first))
      }
      changed = look
      look()
    }).pipe(Effect.timeout("5 seconds"))
  return {
    address,
    port: Number(address.split(":").at(-1)),
    user: Effect.suspend(() => next(users)),
    failure: Effect.map(
      Effect.suspend(() => next(failures)),
      ({ message }) => message
    )
  }
})

/** All that comes until the end; unlike Node's own, leaves the other direction open. */
const text = async (stream: Readable) => {
  let all = ""
  stream.on("data", (part) => {
    all += part
  })
  await once(stream.resume(), "end")
  return all
}

/** The end of a connection, whether with an error or not. */
const closed = (socket: Socket) =>
  Effect.callback<string | undefined>((resume) => {
    const tell = () => resume(Effect.succeed((socket.errored as NodeJS.ErrnoException | null)?.code))
    if (socket.closed) tell()
    else socket.resume().once("close", tell)
  })

/** A user's end, destroyed with the Scope. */
const held = <A extends Socket>(socket: A) =>
  Effect.acquireRelease(
    Effect.sync(() => socket.on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  )

const keys = ({ certificatePem: cert, privateKeyPem }: Identity) => ({ cert, key: Redacted.value(privateKeyPem) })

const LOCAL = { host: "127.0.0.1", port: 0 }

const makeTls = Effect.fnUntraced(function* (authorities?: ReadonlyArray<string>) {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["web.test"])
  const listening = yield* reception({ _tag: "tls", ...LOCAL, identity, authorities })
  const come = (options: ConnectionOptions = {}): Effect.Effect<TLSSocket, never, Scope.Scope> =>
    Effect.suspend(() =>
      held(
        tlsConnect({
          host: "127.0.0.1",
          port: listening.port,
          ca: authority.certificatePem,
          servername: "web.test",
          ...options
        })
      )
    )
  return { ...listening, come, authority }
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-users-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const HAS_OPENSSL = spawnSync("openssl", ["version"]).status === 0
if (!HAS_OPENSSL) console.info("skipped: there is no openssl to be the user (apt-get install openssl)")

layer(Logger.layer([]), { excludeTestServices: true })("users", (it) => {
  it.effect("come over TCP from where they are", () =>
    Effect.gen(function* () {
      const { port, user } = yield* reception({ _tag: "tcp", ...LOCAL })
      const socket = yield* held(createConnection({ host: "127.0.0.1", port }))
      yield* Effect.promise(() => once(socket, "connect"))
      const { facts, stream } = yield* user
      assert.deepStrictEqual(facts, {
        source: { _tag: "tcp", host: "127.0.0.1", port: socket.localPort! },
        destination: { _tag: "tcp", host: "127.0.0.1", port },
        tls: undefined
      })
      assert.strictEqual(
        String(proxyHeader("v1", facts)),
        `PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.localPort} ${port}\r\n`
      )
      stream.destroy()
    })
  )

  it.effect("come over a Unix socket", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "web.sock")
      const { address, user } = yield* reception({ _tag: "unix", path })
      assert.strictEqual(address, `unix:${path}`)
      const socket = yield* held(createConnection({ path, allowHalfOpen: true }))
      const { facts, stream } = yield* user
      assert.deepStrictEqual(facts.destination, { _tag: "unix", path })
      socket.end("hello")
      assert.strictEqual(yield* Effect.promise(() => text(stream)), "hello")
      stream.end("bye")
      assert.strictEqual(yield* Effect.promise(() => text(socket)), "bye")
    })
  )

  it.effect("of a Unix socket are not cut by an error when they are aborted", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "web.sock")
      const { user } = yield* reception({ _tag: "unix", path })
      const socket = yield* held(createConnection({ path }))
      const { stream } = yield* user
      abort(stream)
      yield* closed(socket)
      assert.isTrue(stream.destroyed)
    })
  )

  it.effect("come over TLS with what it told, and may read after their end", () =>
    Effect.gen(function* () {
      const { come, user } = yield* makeTls()
      const socket = yield* come({ allowHalfOpen: true } as ConnectionOptions)
      const { facts, stream } = yield* user
      assert.deepStrictEqual(facts.tls, {
        version: "TLSv1.3",
        cipher: "TLS_AES_256_GCM_SHA384",
        serverName: "web.test",
        protocol: undefined,
        certificate: undefined
      })
      socket.end("hello")
      assert.strictEqual(yield* Effect.promise(() => text(stream)), "hello")
      stream.end("bye")
      assert.strictEqual(yield* Effect.promise(() => text(socket)), "bye")
    })
  )

  it.effect("show who they are where they must, also when they come back", () =>
    Effect.gen(function* () {
      const persons = yield* makePersons()
      const { come, user } = yield* makeTls([persons.certificatePem])
      const ann = keys(yield* persons.issue("ann"))
      const socket = yield* come(ann)
      const session = Effect.promise(() => once(socket, "session"))
      const [{ facts, stream }, [ticket]] = yield* Effect.all([user, session], { concurrency: 2 })
      assert.deepStrictEqual(facts.tls?.certificate, { commonName: "ann", shown: "connection", verified: true })
      yield* come({ ...ann, session: ticket as Buffer })
      const again = yield* user
      assert.deepStrictEqual(again.facts.tls?.certificate, { commonName: "ann", shown: "session", verified: true })
      for (const each of [stream, again.stream]) each.destroy()
    })
  )

  it.effect("are turned away without a certificate, and with one of another authority", () =>
    Effect.gen(function* () {
      const persons = yield* makePersons()
      const { come, failure } = yield* makeTls([persons.certificatePem])
      const nobody = yield* come()
      assert.match(
        yield* failure,
        /^no TLS with the user at 127\.0\.0\.1:\d+: he shows no certificate, which cas-file asks for$/
      )
      yield* closed(nobody)
      yield* come(keys(yield* (yield* makePersons("Others")).issue("eve")))
      assert.match(yield* failure, /he went away, or his certificate leads to none of the roots in cas-file$/)
    })
  )

  it.effect("are told from those who do not speak TLS", () =>
    Effect.gen(function* () {
      const { port, failure } = yield* makeTls()
      const socket = yield* held(createConnection({ host: "127.0.0.1", port }))
      socket.write("GET / HTTP/1.1\r\n\r\n")
      assert.match(yield* failure, /he speaks HTTP without TLS$/)
    })
  )

  it.effect("over TLS notice that their connection was aborted", () =>
    Effect.gen(function* () {
      const { come, user } = yield* makeTls()
      const socket = yield* come()
      const { stream } = yield* user
      abort(stream)
      assert.strictEqual(yield* closed(socket), "ECONNRESET")
    })
  )

  it.effect("whose handshake is under way are cut with the Scope, those who have come are not", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const { come, port, user } = yield* Effect.provideService(makeTls(), Scope.Scope, scope)
      const socket = yield* come()
      const { stream } = yield* user
      const waiting = yield* held(createConnection({ host: "127.0.0.1", port }))
      yield* Effect.promise(() => once(waiting, "connect"))
      // Connections are accepted in their order: behind another one, this one is known.
      yield* come()
      const other = yield* user
      yield* Scope.close(scope, Exit.void)
      yield* closed(waiting)
      stream.end("still here")
      assert.strictEqual(yield* Effect.promise(() => text(socket)), "still here")
      other.stream.destroy()
    })
  )

  it.effect.skipIf(!HAS_OPENSSL)("may be openssl with a certificate", () =>
    Effect.gen(function* () {
      const persons = yield* makePersons()
      const { authority, port, user } = yield* makeTls([persons.certificatePem])
      const path = yield* folder
      const { cert, key } = keys(yield* persons.issue("ann"))
      writeFileSync(join(path, "ca.pem"), authority.certificatePem)
      writeFileSync(join(path, "cert.pem"), cert)
      writeFileSync(join(path, "key.pem"), key, { mode: 0o600 })
      const options = ["-servername", "web.test", "-CAfile", "ca.pem", "-cert", "cert.pem", "-key", "key.pem"]
      const strict = ["-verify_return_error", "-verify_hostname", "web.test", "-alpn", "ours", "-quiet"]
      const client = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, ...options, ...strict], {
            cwd: path,
            stdio: ["pipe", "pipe", "ignore"]
          })
        ),
        (child) => Effect.sync(() => child.kill("SIGKILL"))
      )
      const { facts, stream } = yield* user
      assert.strictEqual(facts.tls?.serverName, "web.test")
      assert.strictEqual(facts.tls?.certificate?.commonName, "ann")
      client.stdin.write("hello\n")
      const [said] = yield* Effect.promise(() => once(stream, "data"))
      assert.strictEqual(String(said), "hello\n")
      stream.end("bye\n")
      assert.strictEqual(yield* Effect.promise(() => text(client.stdout)), "bye\n")
    })
  )
})
