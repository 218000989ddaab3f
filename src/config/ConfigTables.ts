/**
 * The settings as they are written: tables of TOML with upstream's keys, or the flags in the same shape. Types are
 * checked here; what the texts mean is decided after all sources were folded into one, because a later source may
 * replace a bad value.
 */
import { Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { parseDuration } from "./parseDuration.ts"

/** A duration in nanoseconds: Go's notation, or the bare integer 0. */
export const GoDuration = Schema.Union([Schema.String, Schema.BigInt]).pipe(
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

const text = Schema.optionalKey(Schema.String)
const texts = Schema.optionalKey(Schema.Array(Schema.String))
const duration = Schema.optionalKey(GoDuration)

/** `[client.destinations.<name>]` and `[client.sources.<name>]`. */
export const EndpointTable = Schema.Struct({ route: text, url: text, "dial-timeout": duration })

const endpoints = Schema.optionalKey(Schema.Record(Schema.String, EndpointTable))

export const ClientTable = Schema.Struct({
  token: text,
  "token-file": text,
  metadata: text,
  "server-addr": text,
  "server-cas-file": text,
  "server-name": text,
  "direct-addr": text,
  "handshake-idle-timeout": duration,
  destinations: endpoints,
  sources: endpoints
})

/** `[[server.ingress]]` */
export const IngressTable = Schema.Struct({ addr: text, "cert-file": text, "key-file": text })

export const ServerTable = Schema.Struct({
  tokens: texts,
  "tokens-file": text,
  ingress: Schema.optionalKey(Schema.Array(IngressTable)),
  "endpoint-expiry-disable": Schema.optionalKey(Schema.Boolean),
  "endpoint-expiry-timeout": duration
})

export const ConfigTables = Schema.Struct({
  "log-level": text,
  "log-format": text,
  client: Schema.optionalKey(ClientTable),
  server: Schema.optionalKey(ServerTable)
})

export type EndpointTable = typeof EndpointTable.Type
export type ClientTable = typeof ClientTable.Type
export type IngressTable = typeof IngressTable.Type
export type ServerTable = typeof ServerTable.Type
export type ConfigTables = typeof ConfigTables.Type

/** Settings and where they come from: the path of a file, or `"the command line"`. */
export interface ConfigSource {
  readonly origin: string
  readonly tables: ConfigTables
}

/**
 * Keys of upstream that this version does not have. They are refused like any unknown key, but with another advice:
 * whoever wrote them spelled them right. `*` stands for an endpoint's name.
 */
export const PLANNED_KEYS: ReadonlySet<string> = new Set([
  "control",
  "relay",
  ...[
    "nat-pmp",
    "status-addr",
    "relay-encryptions",
    "direct-stateless-reset-key",
    "direct-stateless-reset-key-file"
  ].map((key) => `client.${key}`),
  ...["destinations", "sources"].flatMap((kind) =>
    ["relay-encryptions", "cas-file", "cert-file", "key-file"].map((key) => `client.${kind}.*.${key}`)
  ),
  "client.destinations.*.proxy-proto-version",
  ...["lb-policy", "lb-retry", "lb-retry-max"].map((key) => `client.sources.*.${key}`),
  ...["status-addr", "store-dir", "token-restriction", "relay-ingress"].map((key) => `server.${key}`),
  ...["allow-cidrs", "deny-cidrs"].map((key) => `server.ingress.${key}`)
])
