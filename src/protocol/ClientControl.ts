/** Messages between a client and a control server. */
import { Redacted, Schema } from "effect"
import { EndpointName } from "../domain/EndpointName.ts"
import { Role } from "../domain/Role.ts"
import { makeCodec } from "./Codec.ts"
import {
  AuthenticateReqSchema,
  AuthenticateRespSchema,
  type Peer as PeerMessage,
  type Relay as RelayMessage,
  type RemotePeer as RemotePeerMessage,
  RequestSchema,
  ResponseSchema
} from "./gen/client_pb.js"
import { Refused, readRefused, writeRefused } from "./Refusal.ts"
import {
  Address,
  Blob,
  BuildVersion,
  Carriers,
  Certificate,
  HostPort,
  Id,
  Metadata,
  readAddress,
  readBytes,
  readCarriers,
  readHostPorts,
  readRole,
  Token,
  writeAddress,
  writeCarriers,
  writeRole
} from "./values.ts"

/** Most candidates of one peer. */
export const MAX_DIRECTS = 64
/** Most relays of one peer, or offered to one. */
export const MAX_RELAYS = 256
/** Most peers in one list. */
export const MAX_PEERS = 10_000

/** The hello of a client: who it is. */
export const AuthenticateRequest = Schema.Struct({
  token: Token,
  /** From an earlier session, to get the same client id again; empty the first time. */
  reconnectToken: Blob,
  buildVersion: BuildVersion,
  metadata: Metadata
})
export type AuthenticateRequest = typeof AuthenticateRequest.Type

/** The client hello as bytes. */
export const authenticateRequest = makeCodec(
  AuthenticateReqSchema,
  AuthenticateRequest,
  (message) => ({ ...message }),
  ({ token, ...rest }) => ({ token: Redacted.value(token), ...rest })
)

/** What a control server answers to a client hello. */
export const AuthenticateResponse = Schema.Union([
  Refused,
  Schema.TaggedStruct("Accepted", {
    /** The client as the control server sees it. */
    publicAddress: Address,
    reconnectToken: Blob
  })
])
export type AuthenticateResponse = typeof AuthenticateResponse.Type

/** The answer to a client hello as bytes. */
export const authenticateResponse = makeCodec(
  AuthenticateRespSchema,
  AuthenticateResponse,
  (message) =>
    message.error
      ? readRefused(message.error)
      : {
          _tag: "Accepted",
          publicAddress: readAddress(message.public),
          reconnectToken: readBytes(message.reconnectToken)
        },
  (value) =>
    value._tag === "Refused"
      ? writeRefused(value)
      : { public: writeAddress(value.publicAddress), reconnectToken: value.reconnectToken }
)

/** How a client can be reached for one endpoint. */
export const Peer = Schema.Struct({
  directs: Schema.Array(Address).check(Schema.isMaxLength(MAX_DIRECTS)),
  serverCertificate: Certificate,
  clientCertificate: Certificate,
  relayIds: Schema.Array(Id).check(Schema.isMaxLength(MAX_RELAYS)),
  /** Extension: where it takes TLS over TCP; absent or empty: nowhere. */
  tcpDirects: Schema.optionalKey(Schema.Array(Address).check(Schema.isMaxLength(MAX_DIRECTS))),
  /** Extension: ends its `dhxcp` streams with a frame of no bytes, and expects one. */
  dhxcpEndRecord: Schema.optionalKey(Schema.Literal(true)),
  /** Extension: wants no PROXY header, so that the bytes of a user may come right behind a connect request. */
  earlyData: Schema.optionalKey(Schema.Literal(true)),
  /** Extension: its service cannot be reached at the moment. */
  serviceDown: Schema.optionalKey(Schema.Literal(true))
})
export type Peer = typeof Peer.Type

const isAddress = Schema.is(Address)

/**
 * A candidate that cannot be dialed (no port, no address) is left out, it says nothing about the others. So are those
 * beyond the limit: a host with hundreds of interfaces names its public address first.
 */
const readPeer = (message: PeerMessage | undefined) =>
  message && {
    directs: readDirects(message.directs),
    ...(message.tcpDirects.length > 0 && { tcpDirects: readDirects(message.tcpDirects) }),
    serverCertificate: readBytes(message.serverCertificate),
    clientCertificate: readBytes(message.clientCertificate),
    relayIds: message.relayIds.filter((id) => id !== "").slice(0, MAX_RELAYS),
    ...(message.dhxcpEndRecord && { dhxcpEndRecord: true as const }),
    ...(message.earlyData && { earlyData: true as const }),
    ...(message.serviceDown && { serviceDown: true as const })
  }

const readDirects = (directs: PeerMessage["directs"]) =>
  directs.map(readAddress).filter(isAddress).slice(0, MAX_DIRECTS)

const writePeer = ({ directs, tcpDirects = [], ...rest }: Peer) => ({
  ...rest,
  directs: directs.map(writeAddress),
  tcpDirects: tcpDirects.map(writeAddress),
  relayIds: [...rest.relayIds]
})

const Announce = Schema.TaggedStruct("Announce", { endpoint: EndpointName, role: Role, peer: Peer })

/** Opens every stream of a session after the first. */
export const Request = Schema.Union([
  Announce,
  Schema.TaggedStruct("Relay", { endpoint: EndpointName, role: Role, clientCertificate: Certificate }),
  /** Neither: a request from a newer program. */
  Schema.TaggedStruct("Unknown", {})
])
export type Request = typeof Request.Type

/** A request as bytes. One whose parts are missing is refused; one that has no known part is `Unknown`. */
export const request = makeCodec(
  RequestSchema,
  Request,
  ({ announce, relay }) => {
    const part = announce ?? relay
    if (part === undefined) return { _tag: "Unknown" }
    const common = { endpoint: part.endpoint?.name, role: readRole(part.role) }
    return announce
      ? { _tag: "Announce", ...common, peer: readPeer(announce.peer) }
      : { _tag: "Relay", ...common, clientCertificate: relay?.clientCertificate }
  },
  (value) => {
    if (value._tag === "Unknown") return {}
    const common = { endpoint: { name: value.endpoint }, role: writeRole(value.role) }
    return value._tag === "Announce"
      ? { announce: { ...common, peer: writePeer(value.peer) } }
      : { relay: { ...common, clientCertificate: value.clientCertificate } }
  }
)

/** The opposite side of an endpoint, as control tells of it. */
export const RemotePeer = Schema.Struct({ id: Id, peer: Peer, metadata: Metadata })
export type RemotePeer = typeof RemotePeer.Type

/** A relay that may be used, with what opens its door. */
export const RelayOffer = Schema.Struct({
  id: Id,
  addresses: Schema.Array(HostPort).check(Schema.isMaxLength(MAX_DIRECTS)),
  serverCertificate: Certificate,
  authentication: Blob,
  metadata: Metadata,
  /** Extension. */
  carriers: Carriers
})
export type RelayOffer = typeof RelayOffer.Type

/** How many entries of a list could not be used and were left out when it was read; absent when none were. */
const leftOut = Schema.optionalKey(Schema.Int)

/** Elements that were checked one by one when their list was read. */
const checked = <A>() => Schema.declare((_: unknown): _ is A => true)

/** What control tells on a stream: a refusal, or the whole list at once and after every change. */
export const Response = Schema.Union([
  Refused,
  Schema.TaggedStruct("Announced", { peers: Schema.Array(checked<RemotePeer>()), leftOut }),
  Schema.TaggedStruct("Relays", { relays: Schema.Array(checked<RelayOffer>()), leftOut })
])
export type Response = typeof Response.Type

const isRemotePeer = Schema.is(RemotePeer)
const isRelayOffer = Schema.is(RelayOffer)

const readPeers = (peers: ReadonlyArray<RemotePeerMessage>) => {
  const usable = peers
    .slice(0, MAX_PEERS)
    .map(({ id, peer, metadata }) => ({ id, peer: readPeer(peer), metadata }))
    .filter(isRemotePeer)
  return { _tag: "Announced", peers: usable, ...countLeftOut(peers, usable) }
}

const readRelays = (relays: ReadonlyArray<RelayMessage>) => {
  const usable = relays
    .slice(0, MAX_RELAYS)
    .map(({ id, addresses, serverCertificate, authentication, metadata, carriers }) => ({
      id,
      addresses: readHostPorts(addresses).slice(0, MAX_DIRECTS),
      serverCertificate: readBytes(serverCertificate),
      authentication: readBytes(authentication),
      metadata,
      carriers: readCarriers(carriers)
    }))
    .filter(isRelayOffer)
  return { _tag: "Relays", relays: usable, ...countLeftOut(relays, usable) }
}

const countLeftOut = (all: ReadonlyArray<unknown>, usable: ReadonlyArray<unknown>) =>
  all.length > usable.length ? { leftOut: all.length - usable.length } : {}

/** A peer or relay that cannot be used is left out of its list: it must not hide the others. */
export const response = makeCodec(
  ResponseSchema,
  Response,
  ({ error, announce, relay }) => {
    if (error) return readRefused(error)
    if (announce) return readPeers(announce.peers)
    return relay ? readRelays(relay.relays) : {}
  },
  (value) => {
    switch (value._tag) {
      case "Refused":
        return writeRefused(value)
      case "Announced":
        return {
          announce: { peers: value.peers.map(({ id, peer, metadata }) => ({ id, peer: writePeer(peer), metadata })) }
        }
      case "Relays":
        return {
          relay: {
            relays: value.relays.map((offer) => ({
              ...offer,
              addresses: [...offer.addresses],
              carriers: writeCarriers(offer.carriers)
            }))
          }
        }
    }
  }
)
