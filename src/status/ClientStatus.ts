/**
 * What a client tells of itself: the keys of upstream, and `carrier`, `state`, `rtt-millis` and `last-failure`, which are ours.
 * Every value is chosen here one by one, so that nothing secret gets in.
 */
import { Schema } from "effect"
import { Carrier } from "../domain/Carrier.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import { format } from "../domain/SocketAddress.ts"
import type { ClientOptions, ClientSnapshot } from "../endpoint/Client.ts"
import type { OpenPath } from "../peer/OpenPath.ts"
import type { EndpointSnapshot } from "../peer/Peers.ts"
import { peerKey } from "../peer/peerKey.ts"
import { ConnectionStatus, connectionStatus } from "./ConnectionStatus.ts"

const texts = Schema.Array(Schema.String)

const RelayStatus = Schema.Struct({
  id: Schema.String,
  hostports: texts,
  metadata: Schema.String,
  /** Where the link leads; empty without one. */
  connection: Schema.String,
  carrier: Schema.optionalKey(Carrier)
})

const PathStatus = Schema.Struct({
  style: Schema.Literals(["outgoing", "incoming", "relay"]),
  address: Schema.String,
  "relay-id": Schema.optionalKey(Schema.String),
  carrier: Carrier,
  state: Schema.Literals(["open", "suspect"]),
  "rtt-millis": Schema.Finite
})

const PeerStatus = Schema.Struct({
  id: Schema.String,
  metadata: Schema.String,
  "direct-addresses": texts,
  connections: Schema.Array(PathStatus)
})

const EndpointStatus = Schema.Struct({
  status: ConnectionStatus,
  relays: Schema.Record(Schema.String, RelayStatus),
  peers: Schema.Record(Schema.String, PeerStatus)
})

export const ClientStatus = Schema.Struct({
  status: ConnectionStatus,
  metadata: Schema.String,
  "build-version": Schema.String,
  "server-address": Schema.String,
  "direct-address": Schema.String,
  "local-addresses": texts,
  "stun-addresses": texts,
  "natpmp-addresses": texts,
  destinations: Schema.Record(Schema.String, EndpointStatus),
  sources: Schema.Record(Schema.String, EndpointStatus),
  /** Why the last attempt to reach the server failed. */
  "last-failure": Schema.optionalKey(Schema.String)
})

export type ClientStatus = typeof ClientStatus.Type

export type ClientFacts = Pick<ClientOptions, "metadata" | "buildVersion" | "server"> & {
  readonly [kind in "destinations" | "sources"]: ReadonlyMap<EndpointName, unknown>
}

/** The status of a client that was started with these options. */
export const clientStatus = (options: ClientFacts, snapshot: ClientSnapshot): ClientStatus => {
  const { session, mapped, endpoints } = snapshot
  const statusOf = (role: EndpointSnapshot["role"], names: Iterable<string>) =>
    record(names, (name) => [
      name,
      endpointStatus(
        connectionStatus(session),
        endpoints.find((endpoint) => endpoint.role === role && endpoint.name === name)
      )
    ])
  const failure = session._tag === "Connecting" ? session.lastFailure : undefined
  return {
    status: connectionStatus(session),
    metadata: options.metadata,
    "build-version": options.buildVersion,
    "server-address": format(session._tag === "Online" ? session.serverAddress : options.server),
    "direct-address": format(snapshot.address),
    "local-addresses": snapshot.local.map(format),
    "stun-addresses": snapshot.public.map(format),
    "natpmp-addresses": unique([mapped.udp, mapped.tcp].flatMap((address) => address ?? []).map(format)),
    destinations: statusOf("destination", options.destinations.keys()),
    sources: statusOf("source", options.sources.keys()),
    ...(failure !== undefined && { "last-failure": failure })
  }
}

const endpointStatus = (
  session: ConnectionStatus,
  endpoint: EndpointSnapshot | undefined
): typeof EndpointStatus.Type => {
  if (endpoint === undefined) {
    return { status: session === "not_connected" ? session : "disconnected", relays: {}, peers: {} }
  }
  return {
    status: endpoint.peers === undefined ? "not_connected" : session,
    relays: record(endpoint.relays, ({ id, addresses, metadata }) => {
      const link = endpoint.links.findLast(({ offer }) => offer.id === id)
      return [
        id,
        {
          id,
          hostports: addresses.map(format),
          metadata,
          connection: link === undefined ? "" : format(link.connection.remoteAddress()),
          ...(link !== undefined && { carrier: link.connection.carrier })
        }
      ]
    }),
    peers: peersOf(endpoint)
  }
}

/** Those whom control lists, and those whom it does not list any more and who are still connected. */
const peersOf = ({ peers = [], paths, links }: EndpointSnapshot): Record<string, typeof PeerStatus.Type> => {
  const idOf = (path: OpenPath) => peers.find((remote) => peerKey(remote) === path.peerId)?.id ?? path.listedAs
  const pathsOf = (id: string) =>
    paths
      .filter((path) => idOf(path) === id)
      .map(({ direction, address, connection, carrier, state, roundTripMillis }) => {
        const relayId = direction === "relay" && links.find((link) => link.connection === connection)?.offer.id
        return {
          style: direction,
          address,
          ...(relayId && { "relay-id": relayId }),
          carrier,
          state: state === "Open" ? ("open" as const) : ("suspect" as const),
          "rtt-millis": Math.round(roundTripMillis * 100) / 100
        }
      })
  return record(new Set([...peers.map(({ id }) => id), ...paths.map(idOf)]), (id) => {
    const listed = peers.find((remote) => remote.id === id)
    const { directs = [], tcpDirects = [] } = listed?.peer ?? {}
    return [
      id,
      {
        id,
        metadata: listed?.metadata ?? "",
        "direct-addresses": unique([...directs, ...tcpDirects].map(format)),
        connections: pathsOf(id)
      }
    ]
  })
}

const record = <A, B>(items: Iterable<A>, entry: (item: A) => readonly [string, B]): Record<string, B> =>
  Object.fromEntries([...items].map(entry))

const unique = (texts: ReadonlyArray<string>) => [...new Set(texts)]
