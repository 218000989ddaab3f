import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import type { ControlSnapshot } from "../../src/directory/server/ControlServer.ts"
import type { Registration } from "../../src/directory/server/Registry.ts"
import { ANY_ADDRESS, makeAddressRules, parseAddressRange } from "../../src/domain/AddressRules.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { controlStatus } from "../../src/status/ControlStatus.ts"

const at = (port: number) => ({ host: "192.0.2.1", port })
const range = (text: string) => Result.getOrThrow(parseAddressRange(text))
const secret = new Uint8Array([1, 2, 3])

const registration = (changes: Partial<Registration>): Registration => ({
  key: 1,
  role: "destination",
  clientId: "a",
  connectionId: "7",
  metadata: "",
  peer: { directs: [], serverCertificate: secret, clientCertificate: secret, relayIds: [] },
  expiresAt: undefined,
  ...changes
})

const snapshot = (changes: Partial<ControlSnapshot> = {}): ControlSnapshot => ({
  id: "control",
  clientIngresses: [],
  relayIngresses: [],
  clients: [],
  endpoints: new Map(),
  relays: [],
  ...changes
})

describe("the status of a control server", () => {
  it("has upstream's keys, and lists where there is nothing", () => {
    assert.deepStrictEqual(controlStatus("1.2.3", snapshot()), {
      "build-version": "1.2.3",
      "client-ingresses": [],
      clients: {},
      endpoints: {},
      "relay-server-id": "control",
      "relay-ingresses": [],
      relays: {}
    })
  })

  it("shows the rules of its ingresses", () => {
    const rules = makeAddressRules([range("10.0.0.0/8")], [range("10.1.2.3")])
    const status = controlStatus(
      "",
      snapshot({
        clientIngresses: [{ address: at(1), rules }],
        relayIngresses: [{ address: at(2), rules: ANY_ADDRESS }]
      })
    )
    assert.deepStrictEqual(status["client-ingresses"], [
      { address: "192.0.2.1:1", restrictions: { allows: ["10.0.0.0/8"], denies: ["10.1.2.3/32"] } }
    ])
    assert.deepStrictEqual(status["relay-ingresses"], [
      { address: "192.0.2.1:2", restrictions: { allows: [], denies: [] } }
    ])
  })

  it("shows who announces each endpoint, and until when a lost one stays; none that nobody announces", () => {
    const web = [
      registration({}),
      registration({ clientId: "b", role: "source", expiresAt: Date.UTC(2026, 0, 2, 3, 4, 5) })
    ]
    const endpoints = new Map([
      ["web" as EndpointName, web],
      ["empty" as EndpointName, []]
    ])
    assert.deepStrictEqual(controlStatus("", snapshot({ endpoints })).endpoints, {
      web: {
        endpoint: "web",
        destinations: [{ id: "a", conn_id: "7" }],
        sources: [{ id: "b", conn_id: "7", "expires-at": "2026-01-02T03:04:05.000Z" }]
      }
    })
  })

  it("shows a client on its latest connection, and a relay without the key that is shared with it", () => {
    const client = { id: "a", metadata: "m" }
    const { clients, relays } = controlStatus(
      "",
      snapshot({
        clients: [
          { ...client, connectionId: "1", address: at(1) },
          { ...client, connectionId: "2", address: at(2) }
        ],
        relays: [
          { id: "r", addresses: [at(3)], serverCertificate: secret, metadata: "m", sharedKey: secret, carriers: [] }
        ]
      })
    )
    assert.deepStrictEqual(clients, { a: { ...client, conn_id: "2", address: "192.0.2.1:2" } })
    assert.deepStrictEqual(relays, { r: { id: "r", hostport: ["192.0.2.1:3"], metadata: "m" } })
  })
})
