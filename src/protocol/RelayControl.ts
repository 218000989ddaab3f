/** Messages between a relay and a control server, and what control vouches for in a client's name. */
import { Redacted, Result, Schema } from "effect"
import { EndpointName } from "../domain/EndpointName.ts"
import { Role } from "../domain/Role.ts"
import { makeCodec } from "./Codec.ts"
import { AuthenticateReqSchema, AuthenticateRespSchema, ClientAuthenticationSchema } from "./gen/relay_pb.js"
import { Refused, readRefused, writeRefused } from "./Refusal.ts"
import { seal, unseal } from "./seal.ts"
import {
  Blob,
  BuildVersion,
  Carriers,
  Certificate,
  HostPort,
  Id,
  Key32,
  Metadata,
  readBytes,
  readCarriers,
  readHostPorts,
  readRole,
  Token,
  writeCarriers,
  writeRole
} from "./values.ts"

/** Most addresses of one relay. */
const MAX_ADDRESSES = 64

/** The hello of a relay: where it can be reached, and its public key for this connection. */
export const AuthenticateRequest = Schema.Struct({
  token: Token,
  reconnectToken: Blob,
  buildVersion: BuildVersion,
  addresses: Schema.Array(HostPort).check(Schema.isMaxLength(MAX_ADDRESSES)),
  metadata: Metadata,
  serverCertificate: Certificate,
  /** X25519. */
  authenticationKey: Key32,
  /** Extension: what it takes at its addresses. */
  carriers: Carriers
})
export type AuthenticateRequest = typeof AuthenticateRequest.Type

/** The relay hello as bytes. */
export const authenticateRequest = makeCodec(
  AuthenticateReqSchema,
  AuthenticateRequest,
  ({ relayAuthenticationKey, addresses, serverCertificate, carriers, ...rest }) => ({
    ...rest,
    carriers: readCarriers(carriers),
    serverCertificate: readBytes(serverCertificate),
    addresses: readHostPorts(addresses).slice(0, MAX_ADDRESSES),
    authenticationKey: relayAuthenticationKey
  }),
  ({ token, authenticationKey, addresses, carriers, ...rest }) => ({
    ...rest,
    token: Redacted.value(token),
    addresses: [...addresses],
    carriers: writeCarriers(carriers),
    relayAuthenticationKey: authenticationKey
  })
)

/** What a control server answers to a relay hello. */
export const AuthenticateResponse = Schema.Union([
  Refused,
  Schema.TaggedStruct("Accepted", {
    controlId: Id,
    reconnectToken: Blob,
    /** X25519. */
    authenticationKey: Key32
  })
])
export type AuthenticateResponse = typeof AuthenticateResponse.Type

/** The answer to a relay hello as bytes. */
export const authenticateResponse = makeCodec(
  AuthenticateRespSchema,
  AuthenticateResponse,
  ({ error, controlId, reconnectToken, controlAuthenticationKey }) =>
    error
      ? readRefused(error)
      : { _tag: "Accepted", controlId, reconnectToken, authenticationKey: controlAuthenticationKey },
  (value) =>
    value._tag === "Refused"
      ? writeRefused(value)
      : {
          controlId: value.controlId,
          reconnectToken: value.reconnectToken,
          controlAuthenticationKey: value.authenticationKey
        }
)

/** Who a client is to a relay; sealed on its way. */
export const ClientAuthentication = Schema.Struct({ endpoint: EndpointName, role: Role, certificateKey: Id })
export type ClientAuthentication = typeof ClientAuthentication.Type

/** What control vouches for as bytes, before it is sealed. */
export const clientAuthentication = makeCodec(
  ClientAuthenticationSchema,
  ClientAuthentication,
  ({ endpoint, role, certificateKey }) => ({ endpoint: endpoint?.name, role: readRole(role), certificateKey }),
  ({ endpoint, role, certificateKey }) => ({ endpoint: { name: endpoint }, role: writeRole(role), certificateKey })
)

/** What control vouches for, for the one relay that it shares the key with. */
export const sealAuthentication = (key: Uint8Array, client: ClientAuthentication, nonce?: Uint8Array): Uint8Array =>
  seal(key, clientAuthentication.encode(client), nonce)

/** What control vouched for; undefined when the blob was not sealed with this key, or says nothing. */
export const openAuthentication = (key: Uint8Array, blob: Uint8Array): ClientAuthentication | undefined => {
  const message = unseal(key, blob)
  return message && Result.getOrUndefined(clientAuthentication.decode(message))
}
