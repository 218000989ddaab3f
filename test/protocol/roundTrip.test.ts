/** Whatever values a program may have: what it writes is what the other side reads. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Equal, Redacted, Result, Schema } from "effect"
import { EndpointName } from "../../src/domain/EndpointName.ts"
import { Role } from "../../src/domain/Role.ts"
import { fromBytes } from "../../src/domain/SocketAddress.ts"
import * as ClientControl from "../../src/protocol/ClientControl.ts"
import * as ClientRelay from "../../src/protocol/ClientRelay.ts"
import type { Codec } from "../../src/protocol/Codec.ts"
import * as Connect from "../../src/protocol/Connect.ts"
import * as RelayControl from "../../src/protocol/RelayControl.ts"

const { certs } = JSON.parse(readFileSync(new URL("../fixtures/certs.json", import.meta.url), "utf8"))
const certificates: ReadonlyArray<Uint8Array> = certs.map(({ der }: { der: string }) =>
  Uint8Array.from(Buffer.from(der, "hex"))
)

const { all, array, filter, flatMap, map, schema } = Arbitrary

const integer = (minimum: number, maximum: number) => schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))
const oneOf = <A>(...choices: ReadonlyArray<Arbitrary.Arbitrary<A>>) =>
  flatMap(integer(0, choices.length - 1), (at) => choices[at]!)
const bytes = (minLength: number, maxLength: number) =>
  map(array(integer(0, 255), { minLength, maxLength }), (numbers) => Uint8Array.from(numbers))
const literals = <const L extends ReadonlyArray<string>>(...values: L) => schema(Schema.Literals(values))

const text = filter(schema(Schema.String), (value) => value.isWellFormed())
const id = filter(schema(Schema.NonEmptyString), (value) => value.isWellFormed())
const endpoint = map(text, (value) =>
  EndpointName.make(`n${value.replace(/\p{Cc}/gu, "").slice(0, 60)}`.toWellFormed())
)
const role = schema(Role)
const port = integer(1, 65_535)
const ip = oneOf(bytes(4, 4), bytes(16, 16), map(bytes(4, 4), mappedV6))
const address = map(all({ ip, port }), ({ ip, port }) => ({ host: fromBytes(ip)!, port }))
const hostPort = all({
  host: oneOf(
    literals("relay.example.test", "192.0.2.1"),
    map(ip, (ip) => fromBytes(ip)!)
  ),
  port
})
const certificate = map(integer(0, certificates.length - 1), (at) => certificates[at]!)
const refused = map(all({ code: integer(-(2 ** 31), 2 ** 31 - 1), message: text }), (value) => ({
  _tag: "Refused" as const,
  ...value
}))
const carriers = map(integer(0, 2), (at) => ([["quic"], ["tcp"], ["quic", "tcp"]] as const)[at]!)
const directs = array(address, { maxLength: ClientControl.MAX_DIRECTS })
const peer = map(
  all({
    directs,
    tcpDirects: map(directs, (some) => [{ host: "192.0.2.1", port: 1 }, ...some.slice(1)]),
    serverCertificate: certificate,
    clientCertificate: certificate,
    relayIds: array(id, { maxLength: 8 }),
    facts: integer(0, 7)
  }),
  ({ facts, ...rest }) => ({
    ...rest,
    ...((facts & 1) !== 0 && { dhxcpEndRecord: true as const }),
    ...((facts & 2) !== 0 && { earlyData: true as const }),
    ...((facts & 4) !== 0 && { serviceDown: true as const })
  })
)
const remotePeer = all({ id, peer, metadata: text })
const relayOffer = all({
  id,
  addresses: array(hostPort, { maxLength: 4 }),
  serverCertificate: certificate,
  authentication: bytes(0, 256),
  metadata: text,
  carriers
})
const tls = all({ clientName: literals("a.connet.peer.invalid") })
const dhxcp = all({ clientName: literals("a.connet.peer.invalid"), keyTime: bytes(40, 40), signature: bytes(64, 64) })
const encryption = literals("none", "tls", "dhxcp")

const tag = <const T extends string, A extends object>(_tag: T, value: Arbitrary.Arbitrary<A>) =>
  map(value, (members) => ({ _tag, ...members }))

function mappedV6(v4: Uint8Array) {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...v4])
}

/** Registers the property. Redacted members are compared by what they hide. */
const returns = <A>(name: string, codec: Codec<A>, values: ReadonlyArray<Arbitrary.Arbitrary<A>>) => {
  for (const [at, value] of values.entries()) {
    it.prop(`${name}, variant ${at + 1}`, [value], ([value]) => {
      const read = Result.getOrThrow(codec.decode(codec.encode(value)))
      assert.deepEqual(read, value)
      if (typeof value === "object" && value !== null && "token" in value) {
        assert.isTrue(Equal.equals((read as typeof value).token, value.token))
      }
    })
  }
}

describe("what is written is read again", () => {
  const token = map(text, (value) => Redacted.make(value))
  const reconnectToken = bytes(0, 128)
  const key = bytes(32, 32)

  returns("client hello", ClientControl.authenticateRequest, [
    all({ token, reconnectToken, buildVersion: literals("0.1.0", ""), metadata: text })
  ])
  returns<ClientControl.AuthenticateResponse>("answer to a client", ClientControl.authenticateResponse, [
    refused,
    tag("Accepted", all({ publicAddress: address, reconnectToken }))
  ])
  returns<ClientControl.Request>("client request", ClientControl.request, [
    tag("Announce", all({ endpoint, role, peer })),
    tag("Relay", all({ endpoint, role, clientCertificate: certificate }))
  ])
  returns<ClientControl.Response>("lists for a client", ClientControl.response, [
    refused,
    tag("Announced", all({ peers: array(remotePeer, { maxLength: 8 }) })),
    tag("Relays", all({ relays: array(relayOffer, { maxLength: 8 }) }))
  ])
  returns("relay hello", RelayControl.authenticateRequest, [
    all({
      token,
      reconnectToken,
      buildVersion: literals("0.1.0", ""),
      addresses: array(hostPort, { maxLength: 8 }),
      metadata: text,
      serverCertificate: certificate,
      carriers,
      authenticationKey: key
    })
  ])
  returns<RelayControl.AuthenticateResponse>("answer to a relay", RelayControl.authenticateResponse, [
    refused,
    tag("Accepted", all({ controlId: id, reconnectToken, authenticationKey: key }))
  ])
  returns("what control vouches for", RelayControl.clientAuthentication, [all({ endpoint, role, certificateKey: id })])
  returns("hello of a relay link", ClientRelay.authenticateRequest, [
    all({ authentication: bytes(0, 256), metadata: text, buildVersion: literals("0.1.0", "") })
  ])
  returns<ClientRelay.AuthenticateResponse>("answer on a relay link", ClientRelay.authenticateResponse, [
    refused,
    tag("Accepted", all({}))
  ])
  returns<Connect.ConnectRequest>("connect request", Connect.connectRequest, [
    tag("Check", all({})),
    tag("Connect", all({ encryptions: array(encryption, { maxLength: 3 }) })),
    tag(
      "Connect",
      all({ encryptions: array(encryption, { maxLength: 3 }), forwardingFields: schema(Schema.Literal(true)) })
    ),
    tag("Connect", all({ encryptions: array(encryption, { maxLength: 3 }), tls, dhxcp })),
    tag(
      "Connect",
      all({ encryptions: array(encryption), tls, session: all({ id: bytes(16, 16), nonce: bytes(32, 32) }) })
    )
  ])
  returns<Connect.ConnectResponse>("connect response", Connect.connectResponse, [
    refused,
    tag("Checked", all({})),
    tag("Connected", all({ proxy: literals("none", "v1", "v2"), encryption })),
    tag("Connected", all({ proxy: literals("none", "v1", "v2"), encryption, tls, dhxcp })),
    tag("Connected", all({ proxy: literals("none"), encryption, tls, sessionNonce: bytes(32, 32) }))
  ])
})
