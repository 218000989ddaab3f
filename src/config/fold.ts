/**
 * Folding of several sources into one, as upstream does it, from left to right with the command line last.
 *
 * - A later value replaces an earlier one, unless it is empty (`""`, 0, an empty list): nothing can be reset.
 * - `token` and `token-file` are one unit, so are `tokens` and `tokens-file`: whoever sets one of them replaces both.
 * - Arrays of tables of the same length are folded one by one; of another length, the later array replaces the earlier.
 * - Endpoints are folded name by name.
 * - `endpoint-expiry-disable` stays on once it is on.
 */
import type { ClientTable, ConfigSource, ConfigTables, EndpointTable, ServerTable } from "./ConfigTables.ts"

/** All sources as one. */
export const fold = (sources: ReadonlyArray<ConfigSource>): ConfigTables =>
  sources.reduce<ConfigTables>((folded, { tables }) => foldTables(folded, tables), {})

/** The source whose value at this path holds after folding, the last one that sets it. */
export const originOf = (sources: ReadonlyArray<ConfigSource>, path: ReadonlyArray<PropertyKey>): string => {
  for (let length = path.length; length > 0; length--) {
    const source = sources.findLast(({ tables }) => isSet(lookUp(tables, path.slice(0, length))))
    if (source !== undefined) return source.origin
  }
  return "default"
}

const foldTables = (a: ConfigTables, b: ConfigTables): ConfigTables => ({
  ...overlay(a, b),
  ...both(a.client, b.client, (client) => ({ client }), foldClient),
  ...both(a.server, b.server, (server) => ({ server }), foldServer)
})

const foldClient = (a: ClientTable, b: ClientTable): ClientTable => ({
  ...overlay(isSet(b.token) || isSet(b["token-file"]) ? without(a, ["token", "token-file"]) : a, b),
  ...both(a.destinations, b.destinations, (destinations) => ({ destinations }), foldEndpoints),
  ...both(a.sources, b.sources, (sources) => ({ sources }), foldEndpoints)
})

type Endpoints = Readonly<Record<string, EndpointTable>>

const foldEndpoints = (a: Endpoints, b: Endpoints): Endpoints => {
  const folded = new Map(Object.entries(a))
  for (const [name, table] of Object.entries(b)) folded.set(name, overlay(folded.get(name) ?? {}, table))
  return Object.fromEntries(folded)
}

const foldServer = (a: ServerTable, b: ServerTable): ServerTable => ({
  ...overlay(isSet(b.tokens) || isSet(b["tokens-file"]) ? without(a, ["tokens", "tokens-file"]) : a, b),
  ...both(
    a.ingress,
    b.ingress,
    (ingress) => ({ ingress }),
    (from, to) => {
      if (to.length === 0) return from
      return from.length === to.length ? from.map((table, index) => overlay(table, to[index]!)) : to
    }
  )
})

/** What both have folded, or what only one has. */
const both = <A, B>(a: A | undefined, b: A | undefined, named: (value: A) => B, folded: (a: A, b: A) => A): B | {} => {
  if (a === undefined) return b === undefined ? {} : named(b)
  return named(b === undefined ? a : folded(a, b))
}

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

const lookUp = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((table, key) => (table as Record<PropertyKey, unknown> | undefined)?.[key], value)
