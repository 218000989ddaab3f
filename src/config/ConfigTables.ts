/**
 * The settings as they are written: tables of TOML with upstream's keys, or the flags in the same shape. Types are
 * checked here; what the texts mean is decided after all sources were folded into one, because a later source may
 * replace a bad value.
 */
import { Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { parseDuration } from "./parseDuration.ts"
import { parsedInteger } from "./parsed.ts"

const WrittenDuration = Schema.Union([Schema.String, Schema.BigInt]).annotate({
  message: "expected a duration in quotes"
})

/** A duration in nanoseconds: Go's notation, or the bare integer 0. */
export const GoDuration = WrittenDuration.pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transformEffect<bigint, string | bigint>({
      decode: (value, options) =>
        Result.match(typeof value === "string" ? parseDuration(value) : wholeDuration(value), {
          onSuccess: (nanos) => Effect.succeed(nanos),
          onFailure: (message) => Effect.fail(new SchemaIssue.InvalidValue({ message }, value, options))
        }),
      encode: (nanos) => Effect.succeed(`${nanos}ns`)
    })
  )
)

const wholeDuration = (value: bigint): Result.Result<bigint, string> =>
  value === 0n ? Result.succeed(0n) : Result.fail(`${value} has no unit; write "${value}s" for seconds`)

/** A limit: 0 is refused, because a reader could take it for all or for nothing. */
const Limit = parsedInteger<number>((value) =>
  value >= 1n && value <= BigInt(Number.MAX_SAFE_INTEGER)
    ? Result.succeed(Number(value))
    : Result.fail(`${value} is not a limit; write a whole number from 1, or leave it out for no limit`)
)

/** A size of a buffer; the system takes 31 bits. */
const Bytes = parsedInteger<number>((value) =>
  value >= 1n && value < 2n ** 31n
    ? Result.succeed(Number(value))
    : Result.fail(`${value} is not a size; write a whole number of bytes from 1 to ${2n ** 31n - 1n}`)
)

const text = Schema.optionalKey(Schema.String)
const texts = Schema.optionalKey(Schema.Array(Schema.String))
const duration = Schema.optionalKey(GoDuration)
const flag = Schema.optionalKey(Schema.Boolean)
const limit = Schema.optionalKey(Limit)
const bytes = Schema.optionalKey(Bytes)
const integer = Schema.optionalKey(Schema.BigInt)

/** What `[client.destinations.<name>]` and `[client.sources.<name>]` have in common. */
const endpointFields = {
  route: text,
  transport: text,
  "relay-encryptions": texts,
  url: text,
  "dial-timeout": duration,
  "cas-file": text,
  "cert-file": text,
  "key-file": text
}

/** `[client.destinations.<name>]` */
export const DestinationTable = Schema.Struct({
  ...endpointFields,
  "proxy-proto-version": text,
  // Upstream does not have these.
  "health-disable": flag,
  "early-data-disable": flag,
  "preserve-host": flag,
  "listings-disable": flag,
  "dot-files": flag
})

/** `[client.sources.<name>]` */
export const SourceTable = Schema.Struct({
  ...endpointFields,
  // Upstream does not have it.
  "preserve-host": flag,
  "lb-policy": text,
  "lb-retry": text,
  "lb-retry-max": integer
})

/** `[client.tuning]` and that of every other role, which upstream does not have. */
export const TuningTable = Schema.Struct({
  "congestion-control": text,
  "receive-buffer": bytes,
  "send-buffer": bytes,
  "idle-timeout": duration
})

const tuning = Schema.optionalKey(TuningTable)

export const ClientTable = Schema.Struct({
  token: text,
  "token-file": text,
  metadata: text,
  // Upstream does not have these two.
  server: text,
  "server-pin": text,
  "server-addr": text,
  "server-cas-file": text,
  "server-name": text,
  "direct-addr": text,
  "status-addr": text,
  "nat-pmp": text,
  "direct-stateless-reset-key": text,
  "direct-stateless-reset-key-file": text,
  proxy: text,
  transport: text,
  "handshake-idle-timeout": duration,
  "relay-encryptions": texts,
  tuning,
  destinations: Schema.optionalKey(Schema.Record(Schema.String, DestinationTable)),
  sources: Schema.optionalKey(Schema.Record(Schema.String, SourceTable))
})

/** From where one may come. */
const addressFields = { "allow-cidrs": texts, "deny-cidrs": texts }

/** `[[server.ingress]]`, `[[control.clients-ingress]]` and `[[control.relays-ingress]]`. */
export const IngressTable = Schema.Struct({ addr: text, "cert-file": text, "key-file": text, ...addressFields })

/** `[[server.relay-ingress]]` and `[[relay.ingress]]`. */
export const RelayIngressTable = Schema.Struct({ addr: text, hostports: texts, ...addressFields })

/** `[[server.token-restriction]]` and `[[control.clients-token-restriction]]`. */
export const RestrictionTable = Schema.Struct({ ...addressFields, "name-matches": text, "role-matches": text })

/** `[[control.relays-token-restriction]]` */
export const RelayRestrictionTable = Schema.Struct(addressFields)

/** `[server.relay-limits]` and `[relay.limits]`, which upstream does not have. */
export const LimitsTable = Schema.Struct({
  "streams-per-link": limit,
  "links-per-address": limit,
  "bytes-per-second-per-link": limit
})

const ingresses = Schema.optionalKey(Schema.Array(IngressTable))
const relayIngresses = Schema.optionalKey(Schema.Array(RelayIngressTable))
const limits = Schema.optionalKey(LimitsTable)
const restrictions = Schema.optionalKey(Schema.Array(RestrictionTable))

export const ServerTable = Schema.Struct({
  tokens: texts,
  "tokens-file": text,
  "token-restriction": restrictions,
  ingress: ingresses,
  "endpoint-expiry-disable": flag,
  "endpoint-expiry-timeout": duration,
  "relay-ingress": relayIngresses,
  "relay-limits": limits,
  tuning,
  transport: text,
  "status-addr": text,
  "store-dir": text
})

export const ControlTable = Schema.Struct({
  "clients-tokens": texts,
  "clients-tokens-file": text,
  "clients-token-restriction": restrictions,
  "clients-ingress": ingresses,
  "relays-tokens": texts,
  "relays-tokens-file": text,
  "relays-token-restriction": Schema.optionalKey(Schema.Array(RelayRestrictionTable)),
  "relays-ingress": ingresses,
  "endpoint-expiry-disable": flag,
  "endpoint-expiry-timeout": duration,
  tuning,
  transport: text,
  "status-addr": text,
  "store-dir": text
})

export const RelayTable = Schema.Struct({
  token: text,
  "token-file": text,
  metadata: text,
  "control-addr": text,
  "control-cas-file": text,
  "control-name": text,
  proxy: text,
  transport: text,
  "handshake-idle-timeout": duration,
  ingress: relayIngresses,
  limits,
  tuning,
  "status-addr": text,
  "store-dir": text
})

export const ConfigTables = Schema.Struct({
  "log-level": text,
  "log-format": text,
  client: Schema.optionalKey(ClientTable),
  server: Schema.optionalKey(ServerTable),
  control: Schema.optionalKey(ControlTable),
  relay: Schema.optionalKey(RelayTable)
})

export type DestinationTable = typeof DestinationTable.Type
export type SourceTable = typeof SourceTable.Type
export type ClientTable = typeof ClientTable.Type
export type IngressTable = typeof IngressTable.Type
export type RelayIngressTable = typeof RelayIngressTable.Type
export type RestrictionTable = typeof RestrictionTable.Type
export type LimitsTable = typeof LimitsTable.Type
export type TuningTable = typeof TuningTable.Type
export type ServerTable = typeof ServerTable.Type
export type ControlTable = typeof ControlTable.Type
export type RelayTable = typeof RelayTable.Type
export type ConfigTables = typeof ConfigTables.Type

/** The tables that a file may hold, each for a command. */
export type RoleName = "client" | "server" | "control" | "relay"

/** Settings and where they come from: the path of a file, or `"the command line"`. */
export interface ConfigSource {
  readonly origin: string
  readonly tables: ConfigTables
  /** The line of the file that sets what is at a path. */
  readonly lineOf?: (path: ReadonlyArray<PropertyKey>) => number | undefined
}
