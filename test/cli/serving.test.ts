/** What each key of a server, of a control server and of a relay does, from the TOML on. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { startService } from "../endpoint/World.ts"
import { slowLink } from "../transport/slowLink.ts"
import { connectProxy } from "./connectProxy.ts"
import { DEPLOYMENTS, deploy, portOf, reached, statusOf, staying, until, visit } from "./roles.ts"
import { freePort, takenPort } from "./Tunnel.ts"

/** So that who is not let in by QUIC hears it soon. */
const SOON = 'handshake-idle-timeout = "200ms"'

/** The files of a server that another authority vouches for. */
const otherFiles = Effect.gen(function* () {
  const authority = yield* makeAuthority()
  const { certificatePem, privateKeyPem } = yield* authority.issueServer(["localhost"])
  return {
    "other-ca.crt": authority.certificatePem,
    "other.crt": certificatePem,
    "other.key": Redacted.value(privateKeyPem)
  }
})
const OTHER = 'cert-file = "./other.crt"\nkey-file = "./other.key"'

describe.each(DEPLOYMENTS)("the keys of $kind", (deployment) => {
  const { table, clients, ingress, restriction, relayIngress, limits } = deployment

  it.live("tokens let in who shows one of them, and nobody else", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(deployment, `[${table}]\n${clients}tokens = ["u"]`)
      yield* (yield* client('[client]\ntoken = "u"')).says("server.online")
      assert.match(yield* (yield* client("")).failure, /token/)
    })
  )

  it.live("tokens-file lets in who shows a token of it, and nobody else", () =>
    Effect.gen(function* () {
      const files = { tokens: "u name=laptop\n", shown: "u\n" }
      const { client, control } = yield* deploy(deployment, `[${table}]\n${clients}tokens-file = "./tokens"`, files)
      yield* (yield* client('[client]\ntoken-file = "./shown"')).says("server.online")
      yield* control.says("client.online", { token: "laptop" })
      assert.match(yield* (yield* client("")).failure, /token/)
    })
  )

  for (const rule of ['allow-cidrs = ["192.0.2.0/24"]', 'deny-cidrs = ["127.0.0.0/8"]']) {
    it.live(`${rule} of a token keeps out who comes from elsewhere`, () =>
      Effect.gen(function* () {
        const { client } = yield* deploy(deployment, `[[${restriction}]]\n${rule}`)
        assert.match(yield* (yield* client("")).failure, /token/)
      })
    )

    it.live(`${rule} of an ingress for clients keeps out who comes from elsewhere`, () =>
      Effect.gen(function* () {
        const { client } = yield* deploy(deployment, `[[${ingress}]]\n${rule}`)
        const refused = yield* client(`[client]\n${SOON}`)
        yield* refused.says("server.unreachable")
        assert.lengthOf(refused.said("server.online"), 0)
      })
    )

    it.live(`${rule} of an ingress of the relay keeps out who comes from elsewhere`, () =>
      Effect.gen(function* () {
        const { client } = yield* deploy(deployment, `[[${relayIngress}]]\n${rule}`)
        const refused = yield* client(`[client]\n${SOON}\n[client.sources.web]\nurl = "tcp://127.0.0.1:0"`)
        yield* refused.says("relay.unreachable")
        assert.lengthOf(refused.said("relay.online"), 0)
      })
    )
  }

  it.live("name-matches and role-matches of a token say what it is for", () =>
    Effect.gen(function* () {
      const rules = 'name-matches = "^web"\nrole-matches = "destination"'
      const { client, control } = yield* deploy(deployment, `[[${restriction}]]\n${rules}`)
      const service = 'url = "tcp://127.0.0.1:1"'
      yield* client(
        `[client.destinations.web]\n${service}\n[client.destinations.app]\n${service}\n[client.sources.web]\nurl = "tcp://127.0.0.1:0"`
      )
      yield* control.says("endpoint.announced", { endpoint: "web", role: "destination" })
      yield* control.says("endpoint.refused", { endpoint: "app", role: "destination" })
      yield* control.says("endpoint.refused", { endpoint: "web", role: "source" })
    })
  )

  it.live("addr, cert-file and key-file of an ingress for clients say where it is, and who it is", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const own = `[[${ingress}]]\naddr = "127.0.0.1:${port}"\n${OTHER}`
      const { client } = yield* deploy(deployment, own, yield* otherFiles)
      const there = `[client]\nserver-addr = "localhost:${port}"`
      const believing = yield* client(`${there}\nserver-cas-file = "./other-ca.crt"`)
      yield* believing.says("server.online", { address: `127.0.0.1:${port}` })
      yield* (yield* client(there)).says("server.unreachable")
    })
  )

  it.live("status-addr tells whoever asks there how it is", () =>
    Effect.gen(function* () {
      const status = 'status-addr = "127.0.0.1:0"'
      const { control } = yield* deploy(deployment, `[${table}]\n${status}`)
      assert.strictEqual((yield* statusOf(control)).code, 200)
      if (deployment.kind === "server") return
      const { relay } = yield* deploy(deployment, `[relay]\n${status}`)
      assert.strictEqual((yield* statusOf(relay)).code, 200)
    })
  )

  it.live("transport says what it listens on", () =>
    Effect.gen(function* () {
      const { client, relay } = yield* deploy(deployment, `[${table}]\ntransport = "tcp"`)
      yield* (yield* client("")).says("server.online", { carrier: "tcp" })
      yield* (yield* client(`[client]\ntransport = "quic"\n${SOON}`)).says("server.unreachable")
      if (deployment.kind === "control") yield* relay.says("control.online", { carrier: "tcp" })
    })
  )

  it.live("store-dir keeps across a restart who its clients are", () =>
    Effect.gen(function* () {
      const { client, control, start } = yield* deploy(deployment, `[${table}]\nstore-dir = "./state"`)
      yield* client("")
      const { fields } = yield* control.says("client.online")
      assert.lengthOf(control.said("state.forgotten"), 0)
      yield* control.stop
      const again = yield* start(deployment.kind, "")
      yield* again.says("client.online", { client: fields.client })
    })
  )

  /** How many destinations a new source is told of, when a client with one was lost a moment ago. */
  const afterLoss = Effect.fnUntraced(function* (setting: string) {
    const { client, control, ports } = yield* deploy(deployment, `[${table}]\n${setting}`)
    const scope = yield* Scope.make()
    const link = yield* Scope.provide(slowLink({ host: "127.0.0.1", port: ports.server }, {}), scope)
    yield* client(
      `[client]\ntransport = "tcp"\nserver-addr = "localhost:${link.address.port}"\n[client.destinations.web]\nurl = "tcp://127.0.0.1:1"`
    )
    yield* control.says("endpoint.announced")
    yield* Scope.close(scope, Exit.void)
    yield* control.says("client.lost")
    return Effect.gen(function* () {
      const source = yield* client('[client.sources.web]\nurl = "tcp://127.0.0.1:0"')
      const { fields } = yield* source.says("endpoint.online")
      yield* source.stop
      return fields.peers
    })
  })

  it.live("endpoint-expiry-timeout says for how long a lost client is still told of", () =>
    Effect.gen(function* () {
      const listed = yield* afterLoss('endpoint-expiry-timeout = "1s"')
      assert.strictEqual(yield* listed, 1)
      yield* until(
        listed,
        (peers) => peers === 0,
        () => "it is told of still"
      )
    })
  )

  it.live("endpoint-expiry-disable takes back at once what a lost client has announced", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* yield* afterLoss("endpoint-expiry-disable = true"), 0)
    })
  )

  it.live("addr and hostports of an ingress of the relay say where it is, and where clients look for it", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const { address } = yield* slowLink({ host: "127.0.0.1", port }, {})
      const own = `[[${relayIngress}]]\naddr = "127.0.0.1:${port}"\nhostports = ["127.0.0.1:${address.port}"]`
      const { client, relay } = yield* deploy(deployment, own)
      yield* relay.says("relay.listening", { address: `127.0.0.1:${port}` })
      const source = yield* client('[client]\ntransport = "tcp"\n[client.sources.web]\nurl = "tcp://127.0.0.1:0"')
      yield* source.says("relay.online", { address: `127.0.0.1:${address.port}` })
    })
  )

  /** A tunnel through the relay: the port of its users. */
  const tunnel = Effect.fnUntraced(function* (limit: string) {
    const { client } = yield* deploy(deployment, `[${limits}]\n${limit}`)
    const settings = 'route = "relay"\nrelay-encryptions = ["none"]'
    const echo = yield* startService((socket) => void socket.pipe(socket))
    yield* client(`[client.destinations.web]\nurl = "tcp://127.0.0.1:${echo}"\n${settings}`)
    const port = yield* portOf(yield* client(`[client.sources.web]\nurl = "tcp://127.0.0.1:0"\n${settings}`), "web")
    assert.strictEqual(yield* reached(port, "x"), "x")
    return port
  })

  it.live("streams-per-link is how many users there may be at once", () =>
    Effect.gen(function* () {
      const port = yield* tunnel("streams-per-link = 1")
      yield* staying(port)
      assert.strictEqual(yield* visit(port, "one too many"), "")
    })
  )

  it.live("links-per-address is how many links one address may have", () =>
    Effect.gen(function* () {
      const { client } = yield* deploy(deployment, `[${limits}]\nlinks-per-address = 1`)
      const both = yield* client(
        '[client.sources.a]\nurl = "tcp://127.0.0.1:0"\n[client.sources.b]\nurl = "tcp://127.0.0.1:0"'
      )
      const { fields } = yield* both.says("relay.unreachable")
      assert.match(String(fields.reason), /at most 1 link/)
    })
  )

  it.live("bytes-per-second-per-link slows them down", () =>
    Effect.gen(function* () {
      const port = yield* tunnel("bytes-per-second-per-link = 100_000")
      const startedAt = performance.now()
      assert.lengthOf(yield* visit(port, "x".repeat(40_000)), 40_000)
      assert.isAbove(performance.now() - startedAt, 250)
    })
  )
})

describe("the keys of control about relays", () => {
  /** Why a relay that shows `r`, or what else its settings say, is not let in. */
  const refusal = Effect.fnUntraced(function* (toml: string, files: Readonly<Record<string, string>> = {}) {
    const { relay } = yield* deploy({ kind: "control" }, toml, files)
    return yield* relay.failure
  })

  it.live("relays-tokens let in the relay that shows one of them, and no other", () =>
    Effect.gen(function* () {
      const { control } = yield* deploy({ kind: "control" }, '[control]\nrelays-tokens = ["s"]\n[relay]\ntoken = "s"')
      yield* control.says("relay.online")
      assert.match(yield* refusal('[control]\nrelays-tokens = ["s"]'), /token/)
      assert.match(yield* refusal('[relay]\ntoken = "s"'), /token/)
    })
  )

  it.live("relays-tokens-file lets in the relay that shows a token of it, and no other", () =>
    Effect.gen(function* () {
      const files = { tokens: "s name=north\n", shown: "s\n" }
      const own = '[control]\nrelays-tokens-file = "./tokens"'
      const { control } = yield* deploy({ kind: "control" }, `${own}\n[relay]\ntoken-file = "./shown"`, files)
      yield* control.says("relay.online", { token: "north" })
      assert.match(yield* refusal(own, files), /token/)
    })
  )

  for (const rule of ['allow-cidrs = ["192.0.2.0/24"]', 'deny-cidrs = ["127.0.0.0/8"]']) {
    it.live(`${rule} of a relay's token keeps out who comes from elsewhere`, () =>
      Effect.gen(function* () {
        assert.match(yield* refusal(`[[control.relays-token-restriction]]\n${rule}`), /token/)
      })
    )

    it.live(`${rule} of an ingress for relays keeps out who comes from elsewhere`, () =>
      Effect.gen(function* () {
        const own = `[[control.relays-ingress]]\n${rule}\n[relay]\n${SOON}`
        const { relay, control } = yield* deploy({ kind: "control" }, own)
        yield* relay.says("control.unreachable")
        assert.lengthOf(control.said("relay.online"), 0)
      })
    )
  }

  it.live("addr, cert-file and key-file of an ingress for relays say where it is, and who it is", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const own = `[[control.relays-ingress]]\naddr = "127.0.0.1:${port}"\n${OTHER}\n[relay]\ncontrol-addr = "localhost:${port}"\n`
      const files = yield* otherFiles
      const { control, relay } = yield* deploy({ kind: "control" }, `${own}control-cas-file = "./other-ca.crt"`, files)
      yield* control.says("server.listening.relays", { address: `127.0.0.1:${port}` })
      yield* relay.says("control.online")
      yield* (yield* deploy({ kind: "control" }, own, files)).relay.says("control.unreachable")
    })
  )
})

describe("certificates of a server that runs", () => {
  it.live("are taken over when their files were written again, by all ingresses, and nobody is cut off", () =>
    Effect.gen(function* () {
      const { control, relay, client, write } = yield* deploy({ kind: "control" })
      const before = yield* client("")
      yield* before.says("server.online")
      const files = yield* otherFiles
      write("other-ca.crt", files["other-ca.crt"])
      // A certificate without its key is told, and the one before it goes on.
      write("server.crt", files["other.crt"])
      yield* control.says("settings.refused")
      write("server.key", files["other.key"])
      for (const key of ["control.clients-ingress[0]", "control.relays-ingress[0]"]) {
        yield* control.says("certificate.renewed", { key })
      }
      const after = yield* client('[client]\nserver-cas-file = "./other-ca.crt"')
      yield* after.says("server.online")
      assert.isEmpty([...before.said("server.lost"), ...relay.said("control.lost")])
    })
  )
})

describe("the keys of relay about its control server", () => {
  const relay = (settings: string) => Effect.map(deploy({ kind: "control" }, `[relay]\n${settings}`), (all) => all)

  it.live("metadata is told to control", () =>
    Effect.gen(function* () {
      yield* (yield* relay('metadata = "north"')).control.says("relay.online", { metadata: "north" })
    })
  )

  it.live("control-name is the name on the certificate of control", () =>
    Effect.gen(function* () {
      const { ports, relay: unnamed, start } = yield* deploy({ kind: "control" })
      yield* unnamed.says("control.online")
      const numeric = `[relay]\ncontrol-addr = "127.0.0.1:${ports.relays}"\n${SOON}\n[[relay.ingress]]\naddr = "127.0.0.1:${yield* freePort}"`
      yield* unnamed.stop
      const refused = yield* start("relay", numeric)
      yield* refused.says("control.unreachable")
      yield* refused.stop
      yield* (yield* start("relay", `[relay]\ncontrol-name = "localhost"\n${numeric.slice(8)}`)).says("control.online")
    })
  )

  it.live("transport says what it listens on, and dials control with", () =>
    Effect.gen(function* () {
      const { client, relay: running } = yield* relay('transport = "tcp"')
      const source = '[client.sources.web]\nurl = "tcp://127.0.0.1:0"'
      yield* running.says("control.online", { carrier: "tcp" })
      yield* (yield* client(source)).says("relay.online", { carrier: "tcp" })
      yield* (yield* client(`[client]\ntransport = "quic"\n${source}`)).says("relay.unreachable")
    })
  )

  it.live("store-dir keeps who it is across a restart", () =>
    Effect.gen(function* () {
      const { control, relay: running, start } = yield* relay('store-dir = "./state"')
      yield* running.says("control.online")
      const { fields } = yield* control.says("relay.online")
      yield* running.stop
      yield* control.says("relay.lost")
      yield* (yield* start("relay", "")).says("control.online")
      assert.deepEqual(
        control.said("relay.online").map((event) => event.fields.relay),
        [fields.relay, fields.relay]
      )
    })
  )

  it.live("proxy carries what goes to control over TCP", () =>
    Effect.gen(function* () {
      const { port, asked } = yield* connectProxy
      const { relay: proxied, ports } = yield* relay(`transport = "tcp"\nproxy = "http://127.0.0.1:${port}"`)
      yield* proxied.says("control.online")
      assert.deepEqual([...new Set(asked)], [`localhost:${ports.relays}`])
    })
  )

  it.live("handshake-idle-timeout is how long it waits for a control server that says nothing", () =>
    Effect.gen(function* () {
      const silent = `control-addr = "127.0.0.1:${yield* takenPort}"\ntransport = "quic"\n${SOON}`
      const startedAt = performance.now()
      yield* (yield* relay(silent)).relay.says("control.unreachable")
      assert.isBelow(performance.now() - startedAt, 4_000)
    })
  )
})
