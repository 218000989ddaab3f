/**
 * Who announces one endpoint, and what each side may know of the other. Pure: messages in, state out.
 *
 * Every registration has a key of its own, and is updated, lost and withdrawn by that key alone, so that a late clean-up
 * never touches its successor. A registration whose client was lost stays listed until it is withdrawn when its time is over, or
 * the client announces again. Of several registrations of one client the latest is listed.
 */
import type { Role } from "../../domain/Role.ts"
import { opposite } from "../../domain/Role.ts"
import type { Peer, RemotePeer } from "../../protocol/ClientControl.ts"

export interface Registration {
  /** Unique among all registrations a server has ever had, and growing. */
  readonly key: number
  readonly role: Role
  readonly clientId: string
  /** On which connection it was announced. */
  readonly connectionId: string
  readonly metadata: string
  readonly peer: Peer
  /** When it will be withdrawn, in milliseconds since 1970; undefined while its client is there. */
  readonly expiresAt: number | undefined
}

export type Registry = ReadonlyArray<Registration>

export const empty: Registry = []

export type Message =
  | { readonly _tag: "Announced"; readonly registration: Omit<Registration, "expiresAt"> }
  | { readonly _tag: "Updated"; readonly key: number; readonly peer: Peer }
  | { readonly _tag: "Withdrawn"; readonly key: number }
  | { readonly _tag: "Lost"; readonly key: number; readonly expiresAt: number }

export const step = (registry: Registry, message: Message): Registry => {
  switch (message._tag) {
    case "Announced": {
      const { registration } = message
      const superseded = (other: Registration) =>
        other.expiresAt !== undefined && other.role === registration.role && other.clientId === registration.clientId
      return [...registry.filter((other) => !superseded(other)), { ...registration, expiresAt: undefined }]
    }
    case "Updated":
      return registry.map((other) => (other.key === message.key ? { ...other, peer: message.peer } : other))
    case "Withdrawn":
      return registry.filter((other) => other.key !== message.key)
    case "Lost":
      return registry.map((other) => (other.key === message.key ? { ...other, expiresAt: message.expiresAt } : other))
  }
}

/** What a client with `role` is told: everyone of the opposite role, once for each client, in order of their ids. */
export const peersFor = (registry: Registry, role: Role): ReadonlyArray<RemotePeer> => {
  const latest = new Map<string, Registration>()
  for (const registration of registry) {
    if (registration.role !== opposite(role)) continue
    const known = latest.get(registration.clientId)
    if (known === undefined || known.key < registration.key) latest.set(registration.clientId, registration)
  }
  return [...latest.values()]
    .sort((a, b) => (a.clientId < b.clientId ? -1 : 1))
    .map(({ clientId, peer, metadata }) => ({ id: clientId, peer, metadata }))
}
