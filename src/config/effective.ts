/**
 * The settings that hold: what was written, folded over the defaults. What depends on other settings is filled in where it is
 * checked, and here for people to see.
 */
import { Result } from "effect"
import { stringify } from "smol-toml"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type {
  ConfigSource,
  ConfigTables,
  DestinationTable,
  RelayIngressTable,
  RoleName,
  SourceTable
} from "./ConfigTables.ts"
import { DEFAULTS } from "./defaults.ts"
import { fold, withoutEmpty } from "./fold.ts"
import { checkRelayIngresses, RELAY_PORT } from "./Ingress.ts"
import { formatDuration } from "./parseDuration.ts"

/** All sources as one, with the defaults. */
export const effective = (sources: ReadonlyArray<ConfigSource>) =>
  fold([{ origin: "default", tables: DEFAULTS }, ...sources]) as ConfigTables & Required<Pick<ConfigTables, RoleName>>

/** The settings of some roles as TOML, with everything that holds; what is secret is hidden. */
export const printed = (sources: ReadonlyArray<ConfigSource>, roles: ReadonlyArray<RoleName>): string => {
  const tables = effective(sources)
  return stringify({
    "log-level": tables["log-level"],
    "log-format": tables["log-format"],
    ...Object.fromEntries(roles.map((role) => [role, shown(filled(tables, role), role)]))
  })
}

const filled = (tables: ReturnType<typeof effective>, role: RoleName) => {
  const { client, server, control, relay } = tables
  const addr = <A extends object>(list: ReadonlyArray<A> = [{} as A], port: number) =>
    list.map((ingress) => ({ addr: `:${port}`, ...withoutEmpty(ingress) }))
  const relayIngresses = (list: ReadonlyArray<RelayIngressTable> = [{}]) =>
    addr(list, RELAY_PORT).map((ingress) => ({ ...ingress, hostports: hostportsOf(ingress) }))
  switch (role) {
    case "client":
      return { ...client, ...endpoints(client, "destinations"), ...endpoints(client, "sources") }
    case "server":
      return {
        ...server,
        ingress: addr(server.ingress, 19190),
        "relay-ingress": relayIngresses(server["relay-ingress"])
      }
    case "control":
      return {
        ...control,
        "clients-ingress": addr(control["clients-ingress"], 19190),
        "relays-ingress": addr(control["relays-ingress"], 19189)
      }
    case "relay":
      return { ...relay, ingress: relayIngresses(relay.ingress) }
  }
}

const hostportsOf = (ingress: RelayIngressTable): ReadonlyArray<string> => {
  const [checked] = Result.getOrElse(checkRelayIngresses([ingress], { key: "", origin: () => "" }), () => [])
  return checked?.advertised.map(SocketAddress.format) ?? ingress.hostports ?? []
}

const endpoints = (client: ReturnType<typeof effective>["client"], kind: "destinations" | "sources") => {
  const { [kind]: tables, transport, "relay-encryptions": encryptions } = client
  if (tables === undefined) return {}
  const defaults = { route: "any", transport, "relay-encryptions": encryptions }
  const filled = Object.entries(tables).map(([name, table]: [string, DestinationTable | SourceTable]) => [
    name,
    { ...defaults, ...withoutEmpty(table) }
  ])
  return { [kind]: Object.fromEntries(filled) }
}

const HIDDEN = "(hidden)"

/** A value as TOML has it, by its key. */
const shown = (value: unknown, key: string): unknown => {
  if (typeof value === "bigint") return key.endsWith("timeout") ? formatDuration(value) : Number(value)
  if (Array.isArray(value)) return value.map((item) => shown(item, key))
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shown(item, name)]))
  }
  if (SECRET_KEYS.test(key)) return HIDDEN
  return key === "proxy" ? String(value).replace(/^(.*:\/\/)?.*@/, `$1${HIDDEN}@`) : value
}

/** Settings whose value nobody should see. */
const SECRET_KEYS = /^((clients-|relays-)?tokens?|direct-stateless-reset-key)$/
