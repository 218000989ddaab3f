/**
 * The settings of a client, checked: `[client]` of the files and the client's flags.
 */
import { type Duration, Effect, type Redacted, Result, Schema } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { Encryption } from "../domain/Encryption.ts"
import { EndpointName } from "../domain/EndpointName.ts"
import { Route } from "../domain/Route.ts"
import { ValueInvalid } from "./ConfigError.ts"
import type { ConfigSource, EndpointTable } from "./ConfigTables.ts"
import { join } from "./canonicalKeys.ts"
import { fold, originOf, withoutEmpty } from "./fold.ts"
import { type HostPort, parseListenAddress, parseServerAddress, parseTcpUrl } from "./HostPort.ts"
import { invalidValues } from "./invalidValues.ts"
import type { ProxySetting } from "./ProxySetting.ts"
import { parsed, parsedTexts } from "./parsed.ts"
import { parseEncryptions } from "./parseEncryptions.ts"
import { positiveDuration } from "./positiveDuration.ts"
import { handshakeTimeout, sessionSettings } from "./sessionSettings.ts"
import { clientToken } from "./Tokens.ts"
import { all, type Checked, problemsOf, together } from "./together.ts"
import { endpointTransport } from "./transportSetting.ts"

export interface EndpointConfig {
  readonly route: Route
  /** What may carry its links, of what the client has. */
  readonly transport: TransportChoice
  /** How streams through a relay may be encrypted; both ends must allow it. */
  readonly relayEncryptions: ReadonlyArray<Encryption>
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
  /** How TCP connections to the server and to relays are dialed. */
  readonly proxy: ProxySetting
  /** What it listens on and dials with. */
  readonly transport: TransportChoice
  readonly handshakeTimeout: Duration.Duration
  readonly destinations: ReadonlyMap<EndpointName, EndpointConfig>
  readonly sources: ReadonlyMap<EndpointName, EndpointConfig>
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const clientConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = fold(sources).client ?? {}
  const origin = (path: ReadonlyArray<PropertyKey>) => originOf(sources, ["client", ...path])

  const settings = Result.mapError(
    Schema.decodeResult(ClientSettings, { errors: "all" })(withoutEmpty(table)),
    (error) => invalidValues(error, "client", origin)
  )
  const defaults: EndpointDefaults = Result.isSuccess(settings)
    ? { relayEncryptions: settings.success["relay-encryptions"], transport: settings.success.transport }
    : { relayEncryptions: [], transport: "auto" }

  const endpoints = (kind: "destinations" | "sources"): Checked<ReadonlyMap<EndpointName, EndpointConfig>> => {
    const checked = Object.entries(table[kind] ?? {}).map(
      ([name, endpoint]): Checked<[EndpointName, EndpointConfig]> => {
        const prefix = join(`client.${kind}`, name)
        const at = (path: ReadonlyArray<PropertyKey>) => origin([kind, name, ...path])
        const validName = Result.mapError(Schema.decodeResult(EndpointName)(name), (error) =>
          invalidValues(error, prefix, () => at([]))
        )
        const result = decodeEndpoint(kind, endpoint, defaults).pipe(
          Result.mapError((error) => invalidValues(error, prefix, at)),
          Result.filterOrFail(
            ({ transport }) => defaults.transport === "auto" || defaults.transport === transport,
            ({ transport }) => [
              new ValueInvalid({
                origin: at(["transport"]),
                key: join(prefix, "transport"),
                detail: `"${transport}" is more than the client has with client.transport = "${defaults.transport}"; change one of them`
              })
            ]
          )
        )
        return Result.isSuccess(validName) && Result.isSuccess(result)
          ? Result.succeed([validName.success, result.success])
          : Result.fail(problemsOf([validName, result]))
      }
    )
    return Result.map(all(checked), (entries) => new Map(entries))
  }

  const checked = yield* together({
    settings,
    destinations: endpoints("destinations"),
    sources: endpoints("sources"),
    token: yield* Effect.result(
      clientToken({ file: table["token-file"] ?? "", literal: table.token ?? "", origin: origin(["token"]) })
    )
  })
  const server = checked.settings["server-addr"]
  return {
    token: checked.token,
    metadata: checked.settings.metadata,
    server,
    serverName: checked.settings["server-name"] ?? server.host,
    serverAuthoritiesFile: checked.settings["server-cas-file"],
    directAddress: checked.settings["direct-addr"],
    proxy: checked.settings.proxy,
    transport: checked.settings.transport,
    handshakeTimeout: handshakeTimeout(checked.settings),
    destinations: checked.destinations,
    sources: checked.sources
  } satisfies ClientConfig
})

/** What a relay cannot read. Upstream's default is `none`: its relays can. */
const ENCRYPTIONS = ["tls", "dhxcp"] as const satisfies ReadonlyArray<Encryption>

const ClientSettings = Schema.Struct({
  ...sessionSettings,
  "server-addr": parsed(parseServerAddress(19190)).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed("127.0.0.1:19190"))
  ),
  "server-name": Schema.optionalKey(Schema.String),
  "server-cas-file": Schema.optionalKey(Schema.String),
  "direct-addr": parsed(parseListenAddress).pipe(Schema.withDecodingDefaultKey(Effect.succeed(":19192"))),
  "relay-encryptions": parsedTexts(parseEncryptions).pipe(Schema.withDecodingDefaultKey(Effect.succeed(ENCRYPTIONS)))
})

const routeOf = (text: string): Result.Result<Route, string> =>
  Result.mapError(
    Schema.decodeUnknownResult(Route)(text),
    () => `"${text}" is not a route; write "any", "direct" or "relay"`
  )

const endpointSettings = (use: "dial" | "listen") =>
  Schema.Struct({
    route: parsed(routeOf).pipe(Schema.withDecodingDefaultKey(Effect.succeed("any"))),
    transport: Schema.optionalKey(endpointTransport),
    "relay-encryptions": Schema.optionalKey(parsedTexts(parseEncryptions)),
    url: parsed(parseTcpUrl(use)).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
    "dial-timeout": Schema.optionalKey(
      Schema.BigInt.check(Schema.makeFilter((nanos) => (nanos < 0n ? "it must not be negative" : undefined)))
    )
  })

const ENDPOINT_SETTINGS = { destinations: endpointSettings("dial"), sources: endpointSettings("listen") }

type EndpointDefaults = Pick<EndpointConfig, "relayEncryptions" | "transport">

const decodeEndpoint = (kind: "destinations" | "sources", table: EndpointTable, defaults: EndpointDefaults) =>
  Result.map(
    Schema.decodeResult(ENDPOINT_SETTINGS[kind], { errors: "all" })(withoutEmpty(table)),
    (endpoint): EndpointConfig => ({
      route: endpoint.route,
      transport: endpoint.transport ?? defaults.transport,
      relayEncryptions: endpoint["relay-encryptions"] ?? defaults.relayEncryptions,
      address: endpoint.url,
      dialTimeout: positiveDuration(endpoint["dial-timeout"])
    })
  )
