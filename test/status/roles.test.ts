/** What each role tells of itself over HTTP while it runs, and what it never tells. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, Redacted, type Schema } from "effect"
import { makeControlIdentity } from "../../src/directory/server/ControlIdentity.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { ClientStatus, clientStatus } from "../../src/status/ClientStatus.ts"
import { ControlStatus, controlStatus } from "../../src/status/ControlStatus.ts"
import { RelayStatus, relayStatus } from "../../src/status/RelayStatus.ts"
import { ServerStatus, serverStatus } from "../../src/status/ServerStatus.ts"
import { serveStatus } from "../../src/status/serveStatus.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import * as EndpointWorld from "../endpoint/World.ts"
import * as RelayWorld from "../relay/World.ts"
import { ask, decoded } from "./ask.ts"

/** Asks once over HTTP, for a value of this shape and nothing else. */
const told = Effect.fnUntraced(function* <A>(schema: Schema.Codec<A>, status: Effect.Effect<A>) {
  const address = yield* serveStatus({ host: "127.0.0.1", port: 0 }, status).pipe(Effect.provide(Logger.layer([])))
  const answer = yield* ask(address)
  return { text: answer.text, status: yield* decoded(schema, answer) }
}, Effect.scoped)

const names = (...all: ReadonlyArray<string>) => new Map(all.map((name) => [name as EndpointName, undefined]))
const endpointWorld = (relay: boolean) => EndpointWorld.makeWorld(Layer.fresh(Memory.layer()), { relay })

/** What a client of that world is started with. */
const started = { metadata: "test", buildVersion: "test", server: { host: "server.test", port: 19_190 } }

describe("the status over HTTP", () => {
  it.live("of clients shows peers and paths, of the server who is there", () =>
    Effect.gen(function* () {
      const world = yield* endpointWorld(true)
      const service = yield* EndpointWorld.startService(EndpointWorld.named("a"))
      const destination = yield* world.client({ destinations: { web: service } })
      const source = yield* world.client({ sources: ["web"] })
      yield* Effect.all([source.says("relay.online"), destination.says("relay.online"), source.says("path.open")])
      assert.strictEqual(yield* EndpointWorld.visit(yield* source.port("web"), "hello"), "a:hello")

      const facts = { ...started, destinations: names(), sources: names("web") }
      const ofSource = yield* told(
        ClientStatus,
        Effect.sync(() => clientStatus(facts, source.snapshot()))
      )
      const { server } = yield* Effect.map(
        told(
          ServerStatus,
          Effect.map(world.snapshot, (known) => serverStatus("test", known))
        ),
        ({ status, text }) => ({ server: { ...status, text } })
      )
      assert.strictEqual(ofSource.status.status, "connected")
      assert.lengthOf(ofSource.status["stun-addresses"], 1)
      const web = ofSource.status.sources.web!
      assert.strictEqual(web.status, "connected")
      const [relay] = Object.values(web.relays)
      const [peer] = Object.values(web.peers)
      assert.strictEqual(relay!.connection, server.relay.hostports[0])
      assert.isTrue(peer!.connections.some(({ style, state }) => style !== "relay" && state === "open"))
      assert.isTrue(peer!.connections.every((path) => path.style !== "relay" || path["relay-id"] === relay!.id))

      const { clients, endpoints, relays } = server.control
      assert.sameMembers(Object.keys(relays), [relay!.id])
      assert.deepStrictEqual(endpoints.web!.destinations, [{ id: peer!.id, conn_id: clients[peer!.id]!.conn_id }])
      assert.lengthOf(endpoints.web!.sources, 1)
      assert.lengthOf(Object.keys(clients), 2)
      assert.strictEqual(clients[peer!.id]!.address, peer!["direct-addresses"][0])
      assert.strictEqual(clients[peer!.id]!.metadata, "test")
      assert.strictEqual(server.relay.status, "connected")
      assert.strictEqual(server.relay["server-id"], server.control["relay-server-id"])
      const atRelay = server.relay.endpoints.web!
      for (const guests of [atRelay.destinations, atRelay.sources]) {
        const [guest] = Object.values(guests)
        assert.strictEqual(guest!.metadata, "test")
        assert.lengthOf(guest!.connections, 1)
      }
      for (const { text } of [ofSource, server]) assert.notMatch(text, /token|null|PRIVATE/)
    })
  )

  it.live("of a client says whether there is a session, from before the first one", () =>
    Effect.gen(function* () {
      const world = yield* endpointWorld(false)
      yield* world.stopServer
      const client = yield* world.client({ sources: ["web"] })
      const facts = { ...started, destinations: names(), sources: names("web") }
      const tell = told(
        ClientStatus,
        Effect.sync(() => clientStatus(facts, client.snapshot()))
      ).pipe(Effect.map(({ status }) => [status.status, status.sources.web!.status, status["last-failure"]]))
      yield* client.says("server.unreachable")
      const [before, endpoint, failure] = yield* tell
      assert.deepStrictEqual([before, endpoint], ["not_connected", "not_connected"])
      assert.isString(failure)
      yield* world.startServer
      yield* client.says("endpoint.online")
      assert.deepStrictEqual(yield* tell, ["connected", "connected", undefined])
      yield* world.stopServer
      yield* client.says("server.lost")
      const lost = yield* RelayWorld.eventually(tell, ([session]) => session !== "connected")
      assert.deepStrictEqual(lost.slice(0, 2), ["reconnecting", "reconnecting"])
    })
  )

  it.live("of control and of a relay apart from it shows what they know of each other, and no secret", () =>
    Effect.gen(function* () {
      const world = yield* RelayWorld.makeWorld
      const identity = makeControlIdentity()
      const control = yield* world.startControl(identity)
      const relay = yield* world.startRelay()
      const guest = yield* world.guest("destination")
      const ofControl = yield* told(
        ControlStatus,
        Effect.map(control.snapshot, (known) => controlStatus("test", known))
      )
      const relayTold = told(
        RelayStatus,
        Effect.sync(() => relayStatus("test", relay.snapshot()))
      )
      const ofRelay = yield* relayTold
      assert.strictEqual(ofControl.status["relay-server-id"], identity.id)
      assert.deepStrictEqual(
        Object.values(ofControl.status.relays).map(({ hostport, metadata }) => [hostport, metadata]),
        [[ofRelay.status.hostports, "test relay"]]
      )
      assert.deepInclude(ofRelay.status, { status: "connected", "server-id": identity.id })
      assert.lengthOf(Object.keys(ofRelay.status.endpoints.web!.destinations), 1)
      const secrets = [
        "relay token",
        Redacted.value(guest.identity.privateKeyPem).split("\n")[1]!,
        Redacted.value(world.identity.privateKeyPem).split("\n")[1]!,
        ...[identity.clientKey, identity.relayKey, guest.authentication].flatMap((bytes) => [
          Buffer.from(bytes).toString("hex").slice(0, 16),
          Buffer.from(bytes).toString("base64").slice(0, 16)
        ])
      ]
      for (const { text } of [ofControl, ofRelay]) {
        for (const secret of secrets) assert.notInclude(text, secret)
      }
      yield* control.stop
      const lost = yield* RelayWorld.eventually(relayTold, ({ status }) => status.status !== "connected")
      assert.deepInclude(lost.status, { status: "reconnecting", "server-id": identity.id })
      yield* guest.connection.close(0, "")
      yield* RelayWorld.eventually(relayTold, ({ status }) => Object.keys(status.endpoints).length === 0)
    })
  )
})
