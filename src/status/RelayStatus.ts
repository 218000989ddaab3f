/** What a relay tells of itself, with the keys of upstream; `connections` and the carriers are ours. */
import { Schema } from "effect"
import { Carrier } from "../domain/Carrier.ts"
import type { Role } from "../domain/Role.ts"
import { format } from "../domain/SocketAddress.ts"
import type { LinkSnapshot, RelaySnapshot } from "../relay/server/RelayServer.ts"
import { ConnectionStatus, connectionStatus } from "./ConnectionStatus.ts"

const GuestStatus = Schema.Struct({
  /** Of the certificate that it shows: its hash. */
  key: Schema.String,
  metadata: Schema.String,
  /** Its links, and how many streams each carries. */
  connections: Schema.Array(Schema.Struct({ address: Schema.String, carrier: Carrier, streams: Schema.Int }))
})

const EndpointStatus = Schema.Struct({
  endpoint: Schema.String,
  destinations: Schema.Record(Schema.String, GuestStatus),
  sources: Schema.Record(Schema.String, GuestStatus)
})

export const RelayStatus = Schema.Struct({
  status: ConnectionStatus,
  "build-version": Schema.String,
  hostports: Schema.Array(Schema.String),
  "server-address": Schema.String,
  /** Of the control server; empty until it has been reached. */
  "server-id": Schema.String,
  carrier: Schema.optionalKey(Carrier),
  endpoints: Schema.Record(Schema.String, EndpointStatus)
})

export type RelayStatus = typeof RelayStatus.Type

/** The status of a relay of this version. */
export const relayStatus = (buildVersion: string, snapshot: RelaySnapshot): RelayStatus => {
  const { registration, links } = snapshot
  return {
    status: connectionStatus(registration),
    "build-version": buildVersion,
    hostports: snapshot.advertised.map(format),
    "server-address": snapshot.control,
    "server-id": registration.controlId ?? "",
    ...(registration._tag === "Online" && { carrier: registration.carrier }),
    endpoints: Object.fromEntries(
      [...Map.groupBy(links, ({ endpoint }) => endpoint)].map(([endpoint, all]) => [
        endpoint,
        { endpoint, destinations: guests(all, "destination"), sources: guests(all, "source") }
      ])
    )
  }
}

const guests = (links: ReadonlyArray<LinkSnapshot>, role: Role): Record<string, typeof GuestStatus.Type> => {
  const ofRole = links.filter((link) => link.role === role)
  return Object.fromEntries(
    [...Map.groupBy(ofRole, ({ certificateKey }) => certificateKey)].map(([key, own]) => [
      key,
      {
        key,
        metadata: own.at(-1)?.metadata ?? "",
        connections: own.map(({ address, carrier, streams }) => ({ address: format(address), carrier, streams }))
      }
    ])
  )
}
