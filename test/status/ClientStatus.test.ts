import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { ClientSnapshot } from "../../src/endpoint/Client.ts"
import type { OpenPath } from "../../src/peer/OpenPath.ts"
import type { EndpointSnapshot } from "../../src/peer/Peers.ts"
import { peerKey } from "../../src/peer/peerKey.ts"
import type { RemotePeer } from "../../src/protocol/ClientControl.ts"
import { ClientStatus, clientStatus } from "../../src/status/ClientStatus.ts"

const WEB = "web" as EndpointName
const at = (port: number) => ({ host: "192.0.2.1", port })
const secret = new Uint8Array([1, 2, 3])

const facts = {
  metadata: "laptop",
  buildVersion: "1.2.3",
  server: { host: "connet.example", port: 19_190 },
  destinations: new Map(),
  sources: new Map([[WEB, undefined]])
}

const remote = (id: string, seed: number): RemotePeer => ({
  id,
  metadata: `of ${id}`,
  peer: {
    directs: [at(seed), at(9)],
    tcpDirects: [at(9)],
    serverCertificate: new Uint8Array([seed]),
    clientCertificate: new Uint8Array([seed, seed]),
    relayIds: []
  }
})

const connection = { carrier: "tcp", remoteAddress: () => at(7) } as OpenPath["connection"]

const path = (peerId: string, listedAs: string, changes: Partial<OpenPath> = {}) =>
  ({
    peerId,
    listedAs,
    direction: "incoming",
    address: "192.0.2.1:5",
    carrier: "quic",
    state: "Open",
    roundTripMillis: 1.23456,
    ...changes
  }) as OpenPath

const endpoint = (changes: Partial<EndpointSnapshot> = {}): EndpointSnapshot => ({
  name: WEB,
  role: "source",
  peers: [],
  paths: [],
  relays: [],
  links: [],
  ...changes
})

const snapshot = (changes: Partial<ClientSnapshot> = {}): ClientSnapshot => ({
  session: { _tag: "Online", publicAddress: at(1), serverAddress: at(2), carrier: "quic" },
  address: { host: "::", port: 19_192 },
  local: [at(3)],
  public: [at(1)],
  mapped: { udp: at(4), tcp: at(4) },
  endpoints: [endpoint()],
  ...changes
})

const web = (changes: Partial<EndpointSnapshot>) =>
  clientStatus(facts, snapshot({ endpoints: [endpoint(changes)] })).sources.web!

describe("the status of a client", () => {
  it("has upstream's keys, lists where there is nothing, and each address once", () => {
    assert.deepStrictEqual(clientStatus(facts, snapshot()), {
      status: "connected",
      metadata: "laptop",
      "build-version": "1.2.3",
      "server-address": "192.0.2.1:2",
      "direct-address": "[::]:19192",
      "local-addresses": ["192.0.2.1:3"],
      "stun-addresses": ["192.0.2.1:1"],
      "natpmp-addresses": ["192.0.2.1:4"],
      destinations: {},
      sources: { web: { status: "connected", relays: {}, peers: {} } }
    })
  })

  for (const [what, wasOnline, endpoints, expected] of [
    ["not connected before the first session", false, [endpoint({ peers: undefined })], "not_connected"],
    ["not connected before the first session, started or not", false, [], "not_connected"],
    ["reconnecting once it was connected", true, [endpoint()], "reconnecting"],
    ["not connected when control has never known it", true, [endpoint({ peers: undefined })], "not_connected"],
    ["disconnected when it does not run", true, [], "disconnected"],
    [
      "disconnected when only its namesake of the other role runs",
      true,
      [endpoint({ role: "destination" })],
      "disconnected"
    ]
  ] as const) {
    it(`says of an endpoint without a session: ${what}`, () => {
      const session = { _tag: "Connecting", attempt: 2, lastFailure: "no answer", wasOnline } as const
      const status = clientStatus(facts, snapshot({ session, endpoints }))
      assert.strictEqual(status.status, wasOnline ? "reconnecting" : "not_connected")
      assert.strictEqual(status["server-address"], "connet.example:19190")
      assert.strictEqual(status["last-failure"], "no answer")
      assert.strictEqual(status.sources.web!.status, expected)
    })
  }

  it("shows the paths of a peer under the id that control gives it now", () => {
    const listed = remote("new", 5)
    assert.deepStrictEqual(web({ peers: [listed], paths: [path(peerKey(listed), "old")] }).peers, {
      new: {
        id: "new",
        metadata: "of new",
        "direct-addresses": ["192.0.2.1:5", "192.0.2.1:9"],
        connections: [{ style: "incoming", address: "192.0.2.1:5", carrier: "quic", state: "open", "rtt-millis": 1.23 }]
      }
    })
  })

  it("shows a peer that control does not list any more for as long as there is a path to it", () => {
    const { peers } = web({ paths: [path("gone", "a", { state: "Suspect" })] })
    assert.deepInclude(peers.a, { id: "a", metadata: "", "direct-addresses": [] })
    assert.strictEqual(peers.a!.connections[0]!.state, "suspect")
  })

  it("names the relay of a relayed path, and where its latest link leads, without what lets us in", () => {
    const offer = (id: string) => ({
      id,
      addresses: [at(8)],
      serverCertificate: secret,
      metadata: "m",
      carriers: ["quic" as const],
      authentication: secret
    })
    const link = {
      id: 1,
      offer: offer("r1"),
      connection,
      messages: { width: 4, limit: 1 },
      state: "Open",
      roundTripMillis: 1,
      distanceMillis: 1
    } as const
    const { relays, peers } = web({
      relays: [offer("r1"), offer("r2")],
      links: [link],
      paths: [path("a", "a", { direction: "relay", connection })]
    })
    const common = { hostports: ["192.0.2.1:8"], metadata: "m" }
    assert.deepStrictEqual(relays, {
      r1: { id: "r1", ...common, connection: "192.0.2.1:7", carrier: "tcp" },
      r2: { id: "r2", ...common, connection: "" }
    })
    assert.deepInclude(peers.a!.connections[0], { style: "relay", "relay-id": "r1" })
  })

  it("is what its schema says", () => {
    const status = clientStatus(facts, snapshot())
    assert.deepStrictEqual(Schema.decodeUnknownSync(ClientStatus)(JSON.parse(JSON.stringify(status))), status)
  })
})
