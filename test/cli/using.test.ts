/** What each key of a client, of its destinations and of its sources does, from the TOML on. */
import { X509Certificate } from "node:crypto"
import { once } from "node:events"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import type { AddressInfo } from "node:net"
import { join } from "node:path"
import { createServer as createTlsServer, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { vi } from "vitest"
import { encode } from "../../src/domain/base32hex.ts"
import { loadNative, type NativeConnection } from "../../src/transport/quic/internal/native.ts"
import { resetTokenNumber } from "../../src/transport/quic/internal/statelessReset.ts"
import { makePersons } from "../endpoint/persons.ts"
import { closedPort, named, startService } from "../endpoint/World.ts"
import { slowLink } from "../transport/slowLink.ts"
import { connectProxy } from "./connectProxy.ts"
import { deploy, portOf, type RunningRole, reached, startRole, statusOf, staying, until, visit } from "./roles.ts"
import { freePort, takenPort } from "./Tunnel.ts"

const SERVER = { kind: "server" } as const
const SOURCE = '[client.sources.web]\nurl = "tcp://127.0.0.1:0"\n'
const destination = (port: number) => `[client.destinations.web]\nurl = "tcp://127.0.0.1:${port}"\n`

type Deployed = Effect.Success<ReturnType<typeof deploy>>

/** A destination and a source of one server, each with settings of its own client and of its own endpoint. */
const tunnel = Effect.fnUntraced(function* (
  settings: { readonly destination?: string; readonly source?: string; readonly sourceClient?: string },
  { client }: Deployed
) {
  const service = yield* startService(named("a"))
  yield* client(`${destination(service)}${settings.destination ?? ""}`)
  const source = yield* client(`${settings.sourceClient ?? ""}\n${SOURCE}${settings.source ?? ""}`)
  assert.strictEqual(yield* reached(yield* portOf(source, "web"), "x"), "a:x")
  return source
})

describe("the keys of client", () => {
  it.live("metadata is told to the server", () =>
    Effect.gen(function* () {
      const { client, control } = yield* deploy(SERVER)
      yield* client('[client]\nmetadata = "laptop"')
      yield* control.says("client.online", { metadata: "laptop" })
    })
  )

  it.live("server-name is the name on the certificate of the server", () =>
    Effect.gen(function* () {
      const { client, ports } = yield* deploy(SERVER)
      const numeric = `[client]\nserver-addr = "127.0.0.1:${ports.server}"\n`
      yield* (yield* client(numeric)).says("server.unreachable")
      yield* (yield* client(`${numeric}server-name = "localhost"`)).says("server.online")
    })
  )

  it.live("server-pin is the certificate of the server, whoever vouches for it", () =>
    Effect.gen(function* () {
      const { ports, path, authority } = yield* deploy(SERVER)
      const pinned = (pin: string) =>
        startRole(
          "client",
          [
            `[client]\ntoken = "t"\nserver-addr = "127.0.0.1:${ports.server}"\nserver-pin = "${pin}"`,
            '[client]\ndirect-addr = "127.0.0.1:0"\nnat-pmp = "disabled"\nproxy = "none"'
          ],
          path
        )
      const pinOf = (pem: string) => new X509Certificate(pem).fingerprint256.replaceAll(":", "").toLowerCase()
      yield* (yield* pinned(pinOf(readFileSync(join(path, "server.crt"), "utf8")))).says("server.online")
      yield* (yield* pinned(pinOf(authority.certificatePem))).says("server.unreachable")
    })
  )

  it.live("direct-stateless-reset-key, or the file of it, is what the tokens of its resets follow from", () =>
    Effect.gen(function* () {
      const keys = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)] as const
      const { client, path } = yield* deploy(SERVER)
      writeFileSync(join(path, "reset.key"), keys[1])
      const native = yield* Effect.promise(loadNative)
      const prototype = (native.Connection as unknown as { readonly prototype: NativeConnection }).prototype
      const ids = vi.spyOn(prototype, "newSourceCid")
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      yield* client(`[client]\ntransport = "quic"\ndirect-stateless-reset-key = "${encode(keys[0])}"`)
      yield* client('[client]\ntransport = "quic"\ndirect-stateless-reset-key-file = "./reset.key"')
      // Spare ids are given a while later; those of the server have tokens of another key.
      yield* until(
        Effect.sync(() =>
          keys.every((key) => ids.mock.calls.some(([id, token]) => token === resetTokenNumber(key, id)))
        ),
        (all) => all,
        () => "no token follows from one of the keys"
      )
      assert.deepEqual(
        readdirSync(path).filter((file) => file.startsWith("stateless-reset")),
        []
      )
    })
  )

  it.live("status-addr tells whoever asks there how it is", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER)
      assert.strictEqual((yield* statusOf(yield* client('[client]\nstatus-addr = "127.0.0.1:0"'))).code, 200)
    })
  )

  it.live("direct-addr is where others reach it", () =>
    Effect.gen(function* () {
      const deployed = yield* deploy(SERVER)
      const port = yield* freePort
      const service = yield* startService(named("a"))
      yield* deployed.client(`[client]\ndirect-addr = "127.0.0.1:${port}"\n${destination(service)}`)
      const source = yield* deployed.client(`${SOURCE}route = "direct"`)
      yield* source.says("path.open", { direction: "outgoing", address: `127.0.0.1:${port}` })
    })
  )

  it.live("proxy carries what goes to the server over TCP", () =>
    Effect.gen(function* () {
      const { port, asked } = yield* connectProxy
      const { client, ports } = yield* deploy(SERVER)
      yield* (yield* client(`[client]\ntransport = "tcp"\nproxy = "http://127.0.0.1:${port}"`)).says("server.online")
      assert.deepEqual([...new Set(asked)], [`localhost:${ports.server}`])
    })
  )

  it.live.each(["quic", "tcp"] as const)("transport is what it dials with: %s", (transport) =>
    Effect.gen(function* () {
      const source = yield* tunnel({ sourceClient: `[client]\ntransport = "${transport}"` }, yield* deploy(SERVER))
      const carriers = source.events.flatMap(({ fields }) => (fields.carrier === undefined ? [] : [fields.carrier]))
      assert.deepEqual([...new Set(carriers)], [transport])
    })
  )

  it.live("handshake-idle-timeout is how long it waits for a server that says nothing", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER)
      const silent = `server-addr = "127.0.0.1:${yield* takenPort}"\ntransport = "quic"\nhandshake-idle-timeout = "200ms"`
      const startedAt = performance.now()
      yield* (yield* client(`[client]\n${silent}`)).says("server.unreachable")
      assert.isBelow(performance.now() - startedAt, 4_000)
    })
  )

  it.live("relay-encryptions are those of its endpoints that have none of their own", () =>
    Effect.gen(function* () {
      const sourceClient = '[client]\nrelay-encryptions = ["dhxcp"]'
      const source = yield* tunnel({ sourceClient, source: 'route = "relay"' }, yield* deploy(SERVER))
      yield* source.says("path.selected", { encryption: "dhxcp" })
    })
  )
})

describe.each(["destination", "source"] as const)("the keys of a %s", (end) => {
  it.live("route keeps it to one kind of paths", () =>
    Effect.gen(function* () {
      const source = yield* tunnel({ [end]: 'route = "relay"' }, yield* deploy(SERVER))
      yield* source.says("path.selected", { direction: "relay" })
      assert.lengthOf(source.said("path.open"), 0)
    })
  )

  it.live("transport is what carries its links", () =>
    Effect.gen(function* () {
      const own = { source: 'route = "direct"\n' }
      const source = yield* tunnel({ ...own, [end]: `transport = "tcp"\nroute = "direct"` }, yield* deploy(SERVER))
      assert.deepEqual([...new Set(source.said("path.selected").map(({ fields }) => fields.carrier))], ["tcp"])
      assert.notInclude(
        source.said("path.open").map(({ fields }) => fields.carrier),
        "quic"
      )
    })
  )

  it.live("relay-encryptions is how its relayed streams are encrypted", () =>
    Effect.gen(function* () {
      const both = { destination: 'route = "relay"\n', source: 'route = "relay"\n' }
      const own = { ...both, [end]: `${both[end]}relay-encryptions = ["dhxcp"]` }
      yield* (yield* tunnel(own, yield* deploy(SERVER))).says("path.selected", { encryption: "dhxcp" })
    })
  )
})

describe("the keys of a destination alone", () => {
  it.live("dial-timeout is how long its service may take", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER)
      const silent = yield* startService(() => {})
      const tls = `url = "tls://127.0.0.1:${silent}"\ncas-file = "insecure-skip-verify"\n`
      const running = yield* client(`[client.destinations.web]\n${tls}dial-timeout = "200ms"`)
      const port = yield* portOf(yield* client(SOURCE), "web")
      const startedAt = performance.now()
      yield* until(
        visit(port),
        () => running.said("service.unreachable").length > 0,
        () => "the service is waited for"
      )
      assert.isBelow(performance.now() - startedAt, 4_000)
    })
  )

  it.live("cert-file and key-file are who it is to its service", () =>
    Effect.gen(function* () {
      const persons = yield* makePersons()
      const ann = yield* persons.issue("ann")
      const files = { "ann.crt": ann.certificatePem, "ann.key": Redacted.value(ann.privateKeyPem) }
      const { client, path, authority } = yield* deploy(SERVER, "", files)
      const identity = yield* authority.issueServer(["localhost"])
      const service = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = createTlsServer(
            {
              cert: identity.certificatePem,
              key: Redacted.value(identity.privateKeyPem),
              ca: persons.certificatePem,
              requestCert: true
            },
            (socket: TLSSocket) => socket.on("error", () => {}).end(String(socket.getPeerCertificate().subject.CN))
          )
          await once(server.listen(0, "localhost"), "listening")
          return server
        }),
        (server) => Effect.sync(() => void server.close())
      )
      const url = `url = "tls://localhost:${(service.address() as AddressInfo).port}"\ncas-file = "${path}/ca.crt"\n`
      yield* client(`[client.destinations.web]\n${url}cert-file = "./ann.crt"\nkey-file = "./ann.key"`)
      assert.strictEqual(yield* reached(yield* portOf(yield* client(SOURCE), "web")), "ann")
    })
  )

  /** Visits a service that is not there until its destination has noticed. */
  const broken = Effect.fnUntraced(function* (settings: string) {
    const { client } = yield* deploy(SERVER)
    const running = yield* client(`${destination(yield* closedPort)}${settings}`)
    const port = yield* portOf(yield* client(SOURCE), "web")
    const noticed = (event: string) =>
      until(
        visit(port),
        () => running.said(event).length > 1 || running.said("service.down").length > 0,
        () => `no ${event}`
      )
    yield* noticed("service.unreachable")
    return running
  })

  it.live("health-disable keeps to itself that its service is down", () =>
    Effect.gen(function* () {
      yield* (yield* broken("")).says("service.down")
      assert.lengthOf((yield* broken("health-disable = true")).said("service.down"), 0)
    })
  )

  it.live("early-data-disable makes sources wait for the service before they send anything", () =>
    Effect.gen(function* () {
      const relay = yield* freePort
      const { address } = yield* slowLink({ host: "127.0.0.1", port: relay }, { delayMillis: 20 })
      const ingress = `addr = "127.0.0.1:${relay}"\nhostports = ["127.0.0.1:${address.port}"]`
      const { client } = yield* deploy(SERVER, `[[server.relay-ingress]]\n${ingress}\n[client]\ntransport = "tcp"`)
      const settings = 'route = "relay"\nrelay-encryptions = ["none"]\n'
      const echo = yield* startService((socket) => void socket.pipe(socket))
      const url = `url = "tcp://127.0.0.1:${echo}"\n${settings}`
      yield* client(`[client.destinations.early]\n${url}[client.destinations.late]\n${url}early-data-disable = true`)
      const listen = `url = "tcp://127.0.0.1:0"\n${settings}`
      const source = yield* client(`[client.sources.early]\n${listen}[client.sources.late]\n${listen}`)
      const ports = { early: yield* portOf(source, "early"), late: yield* portOf(source, "late") }
      const best = { early: Number.POSITIVE_INFINITY, late: Number.POSITIVE_INFINITY }
      for (const end of ["early", "late"] as const) yield* reached(ports[end], "x")
      for (let user = 0; user < 4; user++) {
        for (const end of ["early", "late"] as const) {
          const startedAt = performance.now()
          yield* Effect.scoped(staying(ports[end]))
          best[end] = Math.min(best[end], performance.now() - startedAt)
        }
      }
      assert.isBelow(best.early, 0.9 * best.late)
    })
  )

  it.live("listings-disable and dot-files say what of a folder is shown", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER, "", { "public/page": "a page", "public/.env": "settings" })
      const folder = 'url = "file:./public"\n'
      yield* client(
        `[client.destinations.web]\n${folder}[client.destinations.own]\n${folder}listings-disable = true\ndot-files = true`
      )
      const listen = 'url = "tcp://127.0.0.1:0"\n'
      const source = yield* client(`[client.sources.web]\n${listen}[client.sources.own]\n${listen}`)
      const get = Effect.fnUntraced(function* (endpoint: string, path: string) {
        const answer = yield* reached(
          yield* portOf(source, endpoint),
          `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`
        )
        return Number(answer.slice(9, 12))
      })
      assert.deepEqual([yield* get("web", "/"), yield* get("web", "/.env")], [200, 404])
      assert.deepEqual(
        [yield* get("own", "/"), yield* get("own", "/.env"), yield* get("own", "/page")],
        [404, 200, 200]
      )
    })
  )

  it.live("preserve-host tells the service which host its user has asked for, if both ends have it", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER)
      const service = yield* startService((socket) =>
        socket.on("data", (head) => {
          const host = /^host: (.*)\r$/im.exec(String(head))?.[1] ?? ""
          socket.end(`HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ${host.length}\r\n\r\n${host}`)
        })
      )
      const kept = "preserve-host = true\n"
      const ends = { none: ["", ""], destination: [kept, ""], both: [kept, kept] } as const
      let [destinations, sources] = ["", ""]
      for (const [name, [far, near]] of Object.entries(ends)) {
        destinations += `[client.destinations.${name}]\nurl = "http://127.0.0.1:${service}"\n${far}`
        sources += `[client.sources.${name}]\nurl = "http://127.0.0.1:0"\n${near}`
      }
      yield* client(destinations)
      const source = yield* client(sources)
      const hostOf = Effect.fnUntraced(function* (endpoint: string) {
        const answer = yield* until(
          visit(yield* portOf(source, endpoint), "GET / HTTP/1.1\r\nHost: asked.example\r\nConnection: close\r\n\r\n"),
          (text) => text.startsWith("HTTP/1.1 200"),
          () => "no answer"
        )
        return answer.split("\r\n\r\n")[1]
      })
      assert.strictEqual(yield* hostOf("none"), `127.0.0.1:${service}`)
      assert.strictEqual(yield* hostOf("destination"), "destination")
      assert.strictEqual(yield* hostOf("both"), "asked.example")
    })
  )
})

describe("the keys of a source alone", () => {
  it.live("dial-timeout is how long its users wait for a destination", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(SERVER)
      const port = yield* portOf(yield* client(`${SOURCE}dial-timeout = "200ms"`), "web")
      const startedAt = performance.now()
      assert.strictEqual(yield* visit(port), "")
      const waited = performance.now() - startedAt
      assert.isAbove(waited, 190)
      assert.isBelow(waited, 2_000)
    })
  )

  const USERS = 9

  /** Who has answered so many users, of two destinations without a service and so many with one; "" is nobody. */
  const answers = Effect.fnUntraced(function* (settings: string, { whole = 1, empty = 2 } = {}) {
    const { client } = yield* deploy(SERVER)
    const running: Array<RunningRole> = []
    for (let each = 0; each < whole; each++) {
      running.push(yield* client(destination(yield* startService(named(`${each}`)))))
    }
    for (let each = 0; each < empty; each++) {
      running.push(yield* client(`${destination(yield* closedPort)}health-disable = true`))
    }
    const source = yield* client(`${SOURCE}route = "direct"\n${settings}`)
    const port = yield* portOf(source, "web")
    yield* until(
      Effect.sync(() => new Set(source.said("path.open").map(({ fields }) => fields.peer)).size),
      (peers) => peers === running.length,
      () => "not all of them are met"
    )
    return yield* Effect.replicateEffect(visit(port), USERS)
  })

  it.live("lb-policy says which of several destinations is asked first", () =>
    Effect.gen(function* () {
      const all = yield* answers('lb-policy = "round-robin"', { whole: 3, empty: 0 })
      assert.strictEqual(new Set(all).size, 3)
    })
  )

  it.live("lb-retry says whether another one is asked when one refuses", () =>
    Effect.gen(function* () {
      assert.include(yield* answers('lb-policy = "round-robin"'), "")
      assert.notInclude(yield* answers('lb-policy = "round-robin"\nlb-retry = "all"'), "")
    })
  )

  it.live("lb-retry-max says how many are asked in all", () =>
    Effect.gen(function* () {
      const count = 'lb-policy = "round-robin"\nlb-retry = "count"\n'
      assert.include(yield* answers(`${count}lb-retry-max = 1`), "")
      assert.notInclude(yield* answers(`${count}lb-retry-max = 3`), "")
    })
  )
})
