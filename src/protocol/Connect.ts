/**
 * Messages between the two clients of a tunnel. On a direct link the first stream is a liveness check, every other one a
 * connect request with its answer, after which the stream carries the user's bytes.
 */
import { Schema } from "effect"
import { Encryption } from "../domain/Encryption.ts"
import { makeCodec } from "./Codec.ts"
import { type ECDHConfiguration, RequestSchema, ResponseSchema, type TLSConfiguration } from "./gen/connect_pb.js"
import { Refused, readRefused, writeRefused } from "./Refusal.ts"
import { Blob, Host, Id } from "./values.ts"

/** In the order of their numbers in messages. */
const ENCRYPTIONS = ["none", "tls", "dhxcp"] as const satisfies ReadonlyArray<Encryption>
const PROXY_VERSIONS = ["none", "v1", "v2"] as const

export { Encryption }

/** The PROXY protocol header that the destination asks the source to write first. */
export const ProxyVersion = Schema.Literals(PROXY_VERSIONS)
export type ProxyVersion = typeof ProxyVersion.Type

const Tls = Schema.Struct({ clientName: Host })
const Dhxcp = Schema.Struct({ clientName: Host, keyTime: Blob, signature: Blob })

const bytes = (length: number) =>
  Schema.Uint8Array.check(
    Schema.makeFilter((value) => (value.length === length ? undefined : `it has ${value.length} bytes, not ${length}`))
  )
const SessionId = bytes(16)
const Nonce = bytes(32)

/** Most schemes in one request; unknown ones are left out. */
const MAX_ENCRYPTIONS = 16

/** The first message of every stream between clients: a liveness check, or the wish for a connection to the service. */
export const ConnectRequest = Schema.Union([
  Schema.TaggedStruct("Check", {}),
  Schema.TaggedStruct("Connect", {
    /** What the source accepts; empty means none, as on every direct link. */
    encryptions: Schema.Array(Encryption).check(Schema.isMaxLength(MAX_ENCRYPTIONS)),
    tls: Schema.optionalKey(Tls),
    dhxcp: Schema.optionalKey(Dhxcp),
    /** Extension: the key of the client certificate of the destination that is meant, when a relay knows several. */
    destinationKey: Schema.optionalKey(Id),
    /** Extension: the session of an earlier TLS handshake, to be used in place of another one. */
    session: Schema.optionalKey(Schema.Struct({ id: SessionId, nonce: Nonce })),
    /** Extension: the stream carries requests of HTTP, into which the source writes who its user is. */
    forwardingFields: Schema.optionalKey(Schema.Literal(true))
  })
])
export type ConnectRequest = typeof ConnectRequest.Type

const readTls = (tls: TLSConfiguration | undefined) => (tls ? { tls: { clientName: tls.clientName } } : {})
const readDhxcp = (dh: ECDHConfiguration | undefined) =>
  dh ? { dhxcp: { clientName: dh.clientName, keyTime: dh.keyTime, signature: dh.signature } } : {}

/** On a direct link, which is encrypted itself. */
export const DIRECT_REQUEST: Extract<ConnectRequest, { _tag: "Connect" }> = { _tag: "Connect", encryptions: [] }

/** The same for streams whose requests tell who their users are. */
export const FORWARDING_REQUEST: typeof DIRECT_REQUEST = { ...DIRECT_REQUEST, forwardingFields: true }

/** A connect request as bytes. */
export const connectRequest = makeCodec(
  RequestSchema,
  ConnectRequest,
  ({ connect }) =>
    connect
      ? {
          _tag: "Connect",
          encryptions: connect.sourceEncryption.flatMap((scheme) => ENCRYPTIONS[scheme] ?? []),
          ...readTls(connect.sourceTls),
          ...readDhxcp(connect.sourceDhX25519),
          ...(connect.destinationKey !== undefined && { destinationKey: connect.destinationKey }),
          ...(connect.session && { session: { id: connect.session.id, nonce: connect.session.nonce } }),
          ...(connect.forwardingFields && { forwardingFields: true })
        }
      : { _tag: "Check" },
  (value) =>
    value._tag === "Check"
      ? {}
      : {
          connect: {
            sourceEncryption: value.encryptions.map((scheme) => ENCRYPTIONS.indexOf(scheme)),
            ...(value.tls && { sourceTls: value.tls }),
            ...(value.dhxcp && { sourceDhX25519: value.dhxcp }),
            ...(value.destinationKey !== undefined && { destinationKey: value.destinationKey }),
            ...(value.session && { session: value.session }),
            ...(value.forwardingFields && { forwardingFields: true })
          }
        },
  [DIRECT_REQUEST, FORWARDING_REQUEST]
)

/** The answer to it, after which a `Connected` stream carries the bytes of the user. */
export const ConnectResponse = Schema.Union([
  Refused,
  Schema.TaggedStruct("Checked", {}),
  Schema.TaggedStruct("Connected", {
    proxy: ProxyVersion,
    encryption: Encryption,
    tls: Schema.optionalKey(Tls),
    dhxcp: Schema.optionalKey(Dhxcp),
    /** Extension: the session of the request is used. */
    sessionNonce: Schema.optionalKey(Nonce)
  })
])
export type ConnectResponse = typeof ConnectResponse.Type

/** The stream carries the bytes of the user as they are. */
export const PLAIN_ANSWER: Extract<ConnectResponse, { _tag: "Connected" }> = {
  _tag: "Connected",
  proxy: "none",
  encryption: "none"
}

/** The answer as bytes. */
export const connectResponse = makeCodec(
  ResponseSchema,
  ConnectResponse,
  ({ error, connect }) => {
    if (error) return readRefused(error)
    if (!connect) return { _tag: "Checked" }
    return {
      _tag: "Connected",
      proxy: PROXY_VERSIONS[connect.proxyProto],
      encryption: ENCRYPTIONS[connect.destinationEncryption],
      ...readTls(connect.destinationTls),
      ...readDhxcp(connect.destinationDhX25519),
      ...(connect.sessionNonce !== undefined && { sessionNonce: connect.sessionNonce })
    }
  },
  (value) => {
    if (value._tag === "Refused") return writeRefused(value)
    if (value._tag === "Checked") return {}
    return {
      connect: {
        proxyProto: PROXY_VERSIONS.indexOf(value.proxy),
        destinationEncryption: ENCRYPTIONS.indexOf(value.encryption),
        ...(value.tls && { destinationTls: value.tls }),
        ...(value.dhxcp && { destinationDhX25519: value.dhxcp }),
        ...(value.sessionNonce !== undefined && { sessionNonce: value.sessionNonce })
      }
    }
  },
  [PLAIN_ANSWER]
)
