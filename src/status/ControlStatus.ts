/** What a control server tells of itself, with the keys of upstream; `expires-at` is ours. */
import { Schema } from "effect"
import type { ControlSnapshot, IngressSnapshot } from "../directory/server/ControlServer.ts"
import type { Registry } from "../directory/server/Registry.ts"
import type { Role } from "../domain/Role.ts"
import { format } from "../domain/SocketAddress.ts"

const texts = Schema.Array(Schema.String)

const IngressStatus = Schema.Struct({
  address: Schema.String,
  restrictions: Schema.Struct({ allows: texts, denies: texts })
})

const ClientStatus = Schema.Struct({
  id: Schema.String,
  conn_id: Schema.String,
  address: Schema.String,
  metadata: Schema.String
})

const RegistrationStatus = Schema.Struct({
  id: Schema.String,
  conn_id: Schema.String,
  /** When it is withdrawn, if its client does not come back: ISO 8601. */
  "expires-at": Schema.optionalKey(Schema.String)
})

const EndpointStatus = Schema.Struct({
  endpoint: Schema.String,
  destinations: Schema.Array(RegistrationStatus),
  sources: Schema.Array(RegistrationStatus)
})

const RelayStatus = Schema.Struct({ id: Schema.String, hostport: texts, metadata: Schema.String })

export const ControlStatus = Schema.Struct({
  "build-version": Schema.String,
  "client-ingresses": Schema.Array(IngressStatus),
  clients: Schema.Record(Schema.String, ClientStatus),
  endpoints: Schema.Record(Schema.String, EndpointStatus),
  "relay-server-id": Schema.String,
  "relay-ingresses": Schema.Array(IngressStatus),
  relays: Schema.Record(Schema.String, RelayStatus)
})

export type ControlStatus = typeof ControlStatus.Type

/** The status of a control server of this version. A client with two connections, since it moves, is on the later one. */
export const controlStatus = (buildVersion: string, snapshot: ControlSnapshot): ControlStatus => ({
  "build-version": buildVersion,
  "client-ingresses": snapshot.clientIngresses.map(ingressStatus),
  clients: Object.fromEntries(
    snapshot.clients.map(({ id, connectionId, address, metadata }) => [
      id,
      { id, conn_id: connectionId, address: format(address), metadata }
    ])
  ),
  endpoints: Object.fromEntries(
    [...snapshot.endpoints]
      .filter(([, registry]) => registry.length > 0)
      .map(([endpoint, registry]) => [
        endpoint,
        { endpoint, destinations: registered(registry, "destination"), sources: registered(registry, "source") }
      ])
  ),
  "relay-server-id": snapshot.id,
  "relay-ingresses": snapshot.relayIngresses.map(ingressStatus),
  relays: Object.fromEntries(
    snapshot.relays.map(({ id, addresses, metadata }) => [id, { id, hostport: addresses.map(format), metadata }])
  )
})

const ingressStatus = ({ address, rules }: IngressSnapshot) => ({
  address: format(address),
  restrictions: { allows: rules.allow, denies: rules.deny }
})

const registered = (registry: Registry, role: Role) =>
  registry
    .filter((registration) => registration.role === role)
    .map(({ clientId, connectionId, expiresAt }) => ({
      id: clientId,
      conn_id: connectionId,
      ...(expiresAt !== undefined && { "expires-at": new Date(expiresAt).toISOString() })
    }))
