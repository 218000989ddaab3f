/** Every kind of source with every kind of destination, as real processes, directly and through a relay. */
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { join } from "node:path"
import { createServer as createTlsServer, connect as tlsConnect } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { makePersons } from "../endpoint/persons.ts"
import { refusedAtStart, type Settings, startClient } from "./clients.ts"
import { startProcess, TookTooLong } from "./Process.ts"
import { freePort, stageFor } from "./Tunnel.ts"

const KINDS = ["tcp", "tls", "unix"] as const
const ROUTES = ["direct", "relay"] as const
type Kind = (typeof KINDS)[number]

/** The header that the services of each kind ask for. */
const HEADERS = { tcp: "v1", tls: "v2", unix: "" }

/** Says back all that came, once its visitor has finished. */
const repeat = (socket: Socket) => {
  const parts: Array<Buffer> = []
  socket.on("error", () => {})
  socket.on("data", (part: Buffer) => parts.push(part))
  socket.on("end", () => socket.end(Buffer.concat(parts)))
}

const listening = (server: Server, where: number | string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      if (typeof where === "string") server.listen(where)
      else server.listen(where, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => void server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** All that comes back for a text. */
const visit = (socket: Socket, text: string) =>
  Effect.tryPromise(async () => {
    const parts: Array<Buffer> = []
    socket.on("data", (part: Buffer) => parts.push(part))
    socket.end(text)
    await once(socket, "end")
    socket.destroy()
    return Buffer.concat(parts)
  }).pipe(Effect.timeout("3 seconds"), Effect.ensuring(Effect.sync(() => socket.destroy())))

const SIGNATURE = "0d0a0d0a000d0a515549540a"

/** What a service is told of a user, and no byte of his is lost or changed. */
const check = (source: Kind, destination: Kind, reply: Buffer) => {
  const header = reply.subarray(0, reply.length - "hello".length)
  assert.strictEqual(reply.subarray(header.length).toString("latin1"), "hello")
  if (destination === "unix") return assert.lengthOf(header, 0)
  if (destination === "tcp") {
    const expected = source === "unix" ? /^PROXY UNKNOWN\r\n$/ : /^PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\r\n$/
    return assert.match(header.toString("latin1"), expected)
  }
  assert.strictEqual(header.subarray(0, 12).toString("hex"), SIGNATURE)
  assert.strictEqual(header.subarray(12, 14).toString("hex"), source === "unix" ? "2131" : "2111")
  assert.strictEqual(header.readUInt16BE(14), header.length - 16)
  const told = ["TLSv1.3", "localhost", "ann"].filter((word) => header.includes(word))
  assert.deepStrictEqual(told, source === "tls" ? ["TLSv1.3", "localhost", "ann"] : [])
}

describe("processes", () => {
  it.live(
    "carry every kind of source to every kind of destination, directly and through a relay",
    () =>
      Effect.gen(function* () {
        const stage = yield* stageFor(1)
        const { path } = stage
        const file = (name: string, text: string) => {
          writeFileSync(join(path, name), text)
          return name
        }
        const authority = yield* makeAuthority()
        const persons = yield* makePersons()
        const identity = yield* authority.issueServer(["localhost"])
        const ann = yield* persons.issue("ann")
        const keyOf = ({ privateKeyPem }: typeof ann) => Redacted.value(privateKeyPem)
        const [cert, key] = [file("web.crt", identity.certificatePem), file("web.key", keyOf(identity))]
        const [roots, users] = [file("roots.crt", authority.certificatePem), file("users.crt", persons.certificatePem)]

        const tcp = yield* listening(createServer({ allowHalfOpen: true }, repeat), 0)
        const secure = createTlsServer({ cert: identity.certificatePem, key: keyOf(identity) }, repeat)
        const tls = yield* listening(
          createServer({ allowHalfOpen: true }, (socket) =>
            secure.emit(
              "connection",
              socket.on("error", () => {})
            )
          ),
          0
        )
        yield* listening(createServer({ allowHalfOpen: true }, repeat), join(path, "service.sock"))
        const services: Readonly<Record<Kind, Readonly<Record<string, string>>>> = {
          tcp: { url: `tcp://127.0.0.1:${tcp}`, "proxy-proto-version": HEADERS.tcp },
          tls: { url: `tls://localhost:${tls}`, "cas-file": roots, "proxy-proto-version": HEADERS.tls },
          unix: { url: "unix:service.sock" }
        }
        const pairs = ROUTES.flatMap((route) => KINDS.map((kind) => ({ route, kind, name: `${kind}-${route}` })))
        const destinations = Object.fromEntries(
          pairs.map(({ route, kind, name }) => [name, { route, ...services[kind] }])
        )
        const sourcePorts = new Map<string, number>()
        const sourcesOf = Effect.fnUntraced(function* (source: Kind) {
          const sources: Record<string, Settings> = {}
          for (const { name } of pairs) {
            const port = source === "unix" ? 0 : yield* freePort
            sourcePorts.set(`${source} ${name}`, port)
            const url = source === "unix" ? `unix:${name}.sock` : `${source}://127.0.0.1:${port}`
            const files = source === "tls" ? { "cert-file": cert, "key-file": key, "cas-file": users } : {}
            sources[name] = { url, ...files }
          }
          return sources
        })

        yield* startProcess(["server", "--config", "server.toml"], path)
        const processes = [yield* startClient(stage, "destinations", { destinations })]
        for (const source of KINDS) {
          processes.push(yield* startClient(stage, source, { sources: yield* sourcesOf(source) }))
        }
        const logs = () => processes.map(({ log }) => log()).join("\n")

        const come = (source: Kind, name: string): Socket => {
          const socket = { port: sourcePorts.get(`${source} ${name}`)!, host: "127.0.0.1", allowHalfOpen: true }
          if (source === "tcp") return connect(socket)
          if (source === "unix") return connect({ path: join(path, `${name}.sock`), allowHalfOpen: true })
          const shown = { cert: ann.certificatePem, key: keyOf(ann), ca: authority.certificatePem }
          return tlsConnect({ ...socket, ...shown, servername: "localhost" })
        }
        for (const source of KINDS) {
          for (const { kind, name } of pairs) {
            const reply = yield* Effect.suspend(() =>
              visit(
                come(source, name).on("error", () => {}),
                "hello"
              )
            ).pipe(
              Effect.filterOrFail(
                (reply) => reply.length > 0,
                () => new TookTooLong({ detail: "nothing came back" })
              ),
              Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 200 }))),
              Effect.mapError((error) => new TookTooLong({ detail: `${source} to ${name}: ${error}\n${logs()}` }))
            )
            check(source, kind, reply)
          }
        }
      }),
    60_000
  )

  it.live("say at the start what is wrong with the files of TLS, and with options that cannot work", () =>
    Effect.gen(function* () {
      const { path } = yield* stageFor(1)
      const refused = (endpoint: string, said: RegExp) => refusedAtStart(path, endpoint, said)
      yield* refused('[client.destinations.a]\nurl = "tls://h:1"\ncas-file = "nowhere"', /there is no file nowhere/)
      yield* refused(
        '[client.sources.a]\nurl = "tls://:0"\ncert-file = "server.key"\nkey-file = "server.crt"',
        /are the certificate file and the key file swapped\?/
      )
      yield* refused(
        '[client.destinations.a]\nurl = "unix:/a"\ncert-file = "server.crt"',
        /client\.destinations\.a\.cert-file: unix URLs have no TLS/
      )
    })
  )
})
