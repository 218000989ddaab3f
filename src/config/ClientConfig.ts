/**
 * The settings of a client, checked: `[client]` of the files and the client's flags.
 */
import { Duration, Effect, type Redacted, Result, Schema } from "effect"
import { EndpointName } from "../domain/EndpointName.ts"
import { Route } from "../domain/Route.ts"
import { ConfigError, type ConfigReason } from "./ConfigError.ts"
import type { ConfigSource, EndpointTable } from "./ConfigTables.ts"
import { join } from "./canonicalKeys.ts"
import { fold, originOf } from "./fold.ts"
import { type HostPort, parseListenAddress, parseServerAddress, parseTcpUrl } from "./HostPort.ts"
import { invalidValues } from "./invalidValues.ts"
import { parsed } from "./parsed.ts"
import { clientToken } from "./Tokens.ts"

export interface EndpointConfig {
  readonly route: Route
  /** For a destination the service to reach, for a source where to listen (an empty host: every address). */
  readonly address: HostPort
  /** How long reaching the other end may take; undefined: as long as the default of whoever dials. */
  readonly dialTimeout: Duration.Duration | undefined
}

export interface ClientConfig {
  /** What the control server knows this client by; may be empty. */
  readonly token: Redacted.Redacted<string>
  /** Free text that peers and the server see. */
  readonly metadata: string
  readonly server: HostPort
  /** The name that the server's certificate must have: a DNS name or an IP address. */
  readonly serverName: string
  /** PEM file of the roots that the server's certificate leads to; undefined: the system's. */
  readonly serverAuthoritiesFile: string | undefined
  /** Where the one socket of the client is bound. */
  readonly directAddress: HostPort
  readonly handshakeTimeout: Duration.Duration
  readonly destinations: ReadonlyMap<EndpointName, EndpointConfig>
  readonly sources: ReadonlyMap<EndpointName, EndpointConfig>
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const clientConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = fold(sources).client ?? {}
  const problems: Array<ConfigReason> = []
  const origin = (path: ReadonlyArray<PropertyKey>) => originOf(sources, ["client", ...path])

  const settings = Schema.decodeResult(ClientSettings, { errors: "all" })(nonEmpty(table))
  if (Result.isFailure(settings)) problems.push(...invalidValues(settings.failure, "client", origin))

  const endpoints = (kind: "destinations" | "sources") => {
    const checked = new Map<EndpointName, EndpointConfig>()
    for (const [name, endpoint] of Object.entries(table[kind] ?? {})) {
      const prefix = join(`client.${kind}`, name)
      const at = (path: ReadonlyArray<PropertyKey>) => origin([kind, name, ...path])
      const result = decodeEndpoint(kind)(endpoint)
      const validName = Schema.decodeResult(EndpointName)(name)
      if (Result.isFailure(validName)) problems.push(...invalidValues(validName.failure, prefix, () => at([])))
      if (Result.isFailure(result)) problems.push(...invalidValues(result.failure, prefix, at))
      if (Result.isSuccess(result) && Result.isSuccess(validName)) checked.set(validName.success, result.success)
    }
    return checked
  }
  const destinations = endpoints("destinations")
  const sourceEndpoints = endpoints("sources")

  const token = yield* Effect.result(
    clientToken({ file: table["token-file"] ?? "", literal: table.token ?? "", origin: origin(["token"]) })
  )
  if (Result.isFailure(token)) problems.push(token.failure)

  const [first, ...rest] = problems
  if (first !== undefined || Result.isFailure(settings) || Result.isFailure(token)) {
    return yield* new ConfigError({ reasons: [first!, ...rest] })
  }
  const { "server-addr": server, ...checked } = settings.success
  return {
    token: token.success,
    metadata: checked.metadata,
    server,
    serverName: checked["server-name"] ?? server.host,
    serverAuthoritiesFile: checked["server-cas-file"],
    directAddress: checked["direct-addr"],
    handshakeTimeout: positive(checked["handshake-idle-timeout"]) ?? HANDSHAKE_TIMEOUT,
    destinations,
    sources: sourceEndpoints
  } satisfies ClientConfig
})

const ClientSettings = Schema.Struct({
  metadata: Schema.String.check(
    Schema.makeFilter((text) =>
      Buffer.byteLength(text) > MAX_METADATA_BYTES ? `it has more than ${MAX_METADATA_BYTES} bytes` : undefined
    )
  ).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
  "server-addr": parsed(parseServerAddress(19190)).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("127.0.0.1:19190"))
  ),
  "server-name": Schema.optionalKey(Schema.String),
  "server-cas-file": Schema.optionalKey(Schema.String),
  "direct-addr": parsed(parseListenAddress).pipe(Schema.withDecodingDefaultKey(Effect.succeed(":19192"))),
  "handshake-idle-timeout": Schema.optionalKey(Schema.BigInt)
})

const routeOf = (text: string): Result.Result<Route, string> => {
  if (text === "relay") return Result.fail('"relay" is not available in this version; write "any" or "direct"')
  return Result.mapError(
    Schema.decodeUnknownResult(Route)(text),
    () => `"${text}" is not a route; write "any" or "direct"`
  )
}

const endpointSettings = (use: "dial" | "listen") =>
  Schema.Struct({
    route: parsed(routeOf).pipe(Schema.withDecodingDefaultKey(Effect.succeed("any"))),
    url: parsed(parseTcpUrl(use)).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
    "dial-timeout": Schema.optionalKey(
      Schema.BigInt.check(Schema.makeFilter((nanos) => (nanos < 0n ? "it must not be negative" : undefined)))
    )
  })

const ENDPOINT_SETTINGS = { destinations: endpointSettings("dial"), sources: endpointSettings("listen") }

const decodeEndpoint = (kind: "destinations" | "sources") => (table: EndpointTable) =>
  Result.map(
    Schema.decodeResult(ENDPOINT_SETTINGS[kind], { errors: "all" })(nonEmpty(table)),
    (endpoint): EndpointConfig => ({
      route: endpoint.route,
      address: endpoint.url,
      dialTimeout: positive(endpoint["dial-timeout"])
    })
  )

/** An empty text counts as absent, as it does when sources are folded. */
const nonEmpty = <A extends object>(table: A): A =>
  Object.fromEntries(Object.entries(table).filter(([, value]) => value !== "")) as A

const positive = (nanos: bigint | undefined) => (nanos !== undefined && nanos > 0n ? Duration.nanos(nanos) : undefined)

const HANDSHAKE_TIMEOUT = Duration.seconds(5)

/** What a control server takes from a client at most. */
const MAX_METADATA_BYTES = 4_096
