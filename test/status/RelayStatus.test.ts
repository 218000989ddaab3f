import { assert, describe, it } from "@effect/vitest"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { LinkSnapshot, RelaySnapshot } from "../../src/relay/server/RelayServer.ts"
import { relayStatus } from "../../src/status/RelayStatus.ts"

const link = (changes: Partial<LinkSnapshot>): LinkSnapshot => ({
  endpoint: "web" as EndpointName,
  role: "destination",
  certificateKey: "k",
  metadata: "m",
  streams: 0,
  address: { host: "192.0.2.1", port: 1 },
  carrier: "quic",
  ...changes
})

const snapshot: RelaySnapshot = {
  registration: { _tag: "Connecting", wasOnline: false, controlId: undefined },
  control: "control.example:19189",
  advertised: [{ host: "relay.example", port: 19_191 }],
  links: []
}

describe("the status of a relay", () => {
  it("has upstream's keys, and no id of a control server that it has not met", () => {
    assert.deepStrictEqual(relayStatus("1.2.3", snapshot), {
      status: "not_connected",
      "build-version": "1.2.3",
      hostports: ["relay.example:19191"],
      "server-address": "control.example:19189",
      "server-id": "",
      endpoints: {}
    })
  })

  it("keeps the id of its control server while it looks for it", () => {
    const registration = { _tag: "Connecting", wasOnline: true, controlId: "c" } as const
    assert.deepInclude(relayStatus("", { ...snapshot, registration }), { status: "reconnecting", "server-id": "c" })
  })

  it("shows each certificate once, with all its links", () => {
    const links = [
      link({ metadata: "before" }),
      link({ streams: 2, carrier: "tcp" }),
      link({ role: "source", certificateKey: "s" }),
      link({ endpoint: "other" as EndpointName })
    ]
    const { web, other } = relayStatus("", { ...snapshot, links }).endpoints
    assert.deepStrictEqual(web, {
      endpoint: "web",
      destinations: {
        k: {
          key: "k",
          metadata: "m",
          connections: [
            { address: "192.0.2.1:1", carrier: "quic", streams: 0 },
            { address: "192.0.2.1:1", carrier: "tcp", streams: 2 }
          ]
        }
      },
      sources: {
        s: { key: "s", metadata: "m", connections: [{ address: "192.0.2.1:1", carrier: "quic", streams: 0 }] }
      }
    })
    assert.deepStrictEqual(Object.keys(other!.destinations), ["k"])
  })
})
