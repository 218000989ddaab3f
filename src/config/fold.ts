/**
 * Folding of several sources into one, as upstream does it, from left to right with the command line last.
 *
 * - A later value replaces an earlier one, unless it is empty (`""`, 0, an empty list): nothing can be reset.
 * - A token and the file for it are one unit, so are tokens and their file, and a key and its file: whoever sets one of
 *   them replaces both.
 * - A link to a server stands for its address, token and pin. The pin is one unit with the authorities and the name that it
 *   stands in for.
 * - Arrays of tables of the same length are folded one by one; of another length, the later array replaces the earlier.
 * - Endpoints are folded name by name, limits and tuning one by one.
 * - `endpoint-expiry-disable` stays on once it is on.
 */
import { Redacted, Result } from "effect"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type { ClientTable, ConfigSource, ConfigTables, ControlTable, RelayTable, ServerTable } from "./ConfigTables.ts"
import { parseServerLink } from "./ServerLink.ts"

/** All sources as one. */
export const fold = (sources: ReadonlyArray<ConfigSource>): ConfigTables =>
  sources.reduce<ConfigTables>((folded, { tables }) => foldTables(folded, withoutLink(tables)), {})

/** Where the value at this path comes from after folding: the last source that sets it, and its line there. */
export const originOf = (sources: ReadonlyArray<ConfigSource>, path: ReadonlyArray<PropertyKey>): string => {
  for (let length = path.length; length > 0; length--) {
    const source = sources.findLast(({ tables }) => isSet(lookUp(tables, path.slice(0, length))))
    if (source !== undefined) return sourceAt(source, path)
  }
  return "default"
}

/** A source as messages name it, with the line of a path if that is known: `client.toml:7`. */
export const sourceAt = (
  { origin, lineOf }: Omit<ConfigSource, "tables">,
  path: ReadonlyArray<PropertyKey>
): string => {
  const line = lineOf?.(path)
  return line === undefined ? origin : `${origin}:${line}`
}

/** What a table really sets: an empty value counts as absent, as it does when sources are folded. */
export const withoutEmpty = <A extends object>(table: A): A => overlay({} as A, table)

const foldTables = (a: ConfigTables, b: ConfigTables): ConfigTables => ({
  ...overlay(a, b),
  ...both(a, b, "client", foldClient),
  ...both(a, b, "server", foldServer),
  ...both(a, b, "control", foldControl),
  ...both(a, b, "relay", foldRelay)
})

const foldClient = (a: ClientTable, b: ClientTable): ClientTable => {
  const unpinned = isSet(b["server-cas-file"]) || isSet(b["server-name"]) ? without(a, ["server-pin"]) : a
  const trust = isSet(b["server-pin"]) ? without(unpinned, ["server-cas-file", "server-name"]) : unpinned
  return {
    ...overlay(replaced(replaced(trust, b, ["token", "token-file"]), b, RESET_KEY), b),
    ...both(a, b, "tuning", overlay),
    ...both(a, b, "destinations", foldEndpoints),
    ...both(a, b, "sources", foldEndpoints)
  }
}

/** The parts of a link in its place; one that cannot be read stays, to be told. */
const withoutLink = ({ client, ...tables }: ConfigTables): ConfigTables => {
  if (client === undefined) return tables
  const { server: link = "", ...rest } = client
  const parsed = parseServerLink(link)
  if (link === "" || Result.isFailure(parsed)) return { ...tables, client }
  const { server, token, pin } = parsed.success
  return {
    ...tables,
    client: {
      "server-addr": SocketAddress.format(server),
      ...(token === undefined || isSet(rest["token-file"]) ? {} : { token: Redacted.value(token) }),
      ...(pin === undefined ? {} : { "server-pin": pin }),
      ...withoutEmpty(rest)
    }
  }
}

const RESET_KEY = ["direct-stateless-reset-key", "direct-stateless-reset-key-file"] as const

type Tables<Table> = Readonly<Record<string, Table>>

const foldEndpoints = <Table extends object>(a: Tables<Table>, b: Tables<Table>): Tables<Table> => {
  const folded = new Map(Object.entries(a))
  for (const [name, table] of Object.entries(b)) folded.set(name, overlay(folded.get(name) ?? ({} as Table), table))
  return Object.fromEntries(folded)
}

const foldServer = (a: ServerTable, b: ServerTable): ServerTable => ({
  ...overlay(replaced(a, b, ["tokens", "tokens-file"]), b),
  ...both(a, b, "ingress", foldArray),
  ...both(a, b, "token-restriction", foldArray),
  ...both(a, b, "relay-ingress", foldArray),
  ...both(a, b, "relay-limits", overlay),
  ...both(a, b, "tuning", overlay)
})

const foldControl = (a: ControlTable, b: ControlTable): ControlTable => {
  const clientsReplaced = replaced(a, b, ["clients-tokens", "clients-tokens-file"])
  return {
    ...overlay(replaced(clientsReplaced, b, ["relays-tokens", "relays-tokens-file"]), b),
    ...both(a, b, "clients-ingress", foldArray),
    ...both(a, b, "clients-token-restriction", foldArray),
    ...both(a, b, "relays-ingress", foldArray),
    ...both(a, b, "relays-token-restriction", foldArray),
    ...both(a, b, "tuning", overlay)
  }
}

const foldRelay = (a: RelayTable, b: RelayTable): RelayTable => ({
  ...overlay(replaced(a, b, ["token", "token-file"]), b),
  ...both(a, b, "ingress", foldArray),
  ...both(a, b, "limits", overlay),
  ...both(a, b, "tuning", overlay)
})

const foldArray = <A extends object>(a: ReadonlyArray<A>, b: ReadonlyArray<A>): ReadonlyArray<A> => {
  if (b.length === 0) return a
  return a.length === b.length ? a.map((table, index) => overlay(table, b[index]!)) : b
}

/** What both tables have at a key, folded, or what only one of them has. */
const both = <A extends object, K extends keyof A>(
  a: A,
  b: A,
  key: K,
  folded: (a: NonNullable<A[K]>, b: NonNullable<A[K]>) => NonNullable<A[K]>
): Pick<A, K> | {} => {
  const [from, to] = [a[key], b[key]]
  if (from == null || to == null) return from == null && to == null ? {} : { [key]: from ?? to }
  return { [key]: folded(from, to) }
}

/** `a` without the keys of a unit, if `b` sets any of them. */
const replaced = <A extends object>(a: A, b: A, unit: ReadonlyArray<keyof A>): A =>
  unit.some((key) => isSet(b[key])) ? without(a, unit) : a

const overlay = <A extends object>(a: A, b: A): A => ({
  ...a,
  ...(Object.fromEntries(Object.entries(b).filter(([, value]) => isSet(value))) as A)
})

const without = <A extends object, K extends keyof A>(table: A, keys: ReadonlyArray<K>): A =>
  Object.fromEntries(Object.entries(table).filter(([key]) => !keys.includes(key as K))) as A

const isSet = (value: unknown): boolean =>
  value !== undefined &&
  value !== "" &&
  value !== 0n &&
  value !== false &&
  !(Array.isArray(value) && value.length === 0)

/** What is at a path of tables; undefined where the path leads nowhere. */
export const lookUp = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((table, key) => (table as Record<PropertyKey, unknown> | undefined)?.[key], value)
