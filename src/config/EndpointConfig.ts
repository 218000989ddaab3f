/**
 * The settings of one destination or source, checked. What cannot work together is refused, so that nothing that was written
 * is ignored; upstream ignores it.
 */
import { type Duration, Effect, Result, Schema } from "effect"
import { BalancePolicy, type Balancing, type Retry } from "../domain/Balancing.ts"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { Encryption } from "../domain/Encryption.ts"
import { type DestinationUrl, type EndpointUrl, isSecure, type SourceUrl } from "../domain/EndpointUrl.ts"
import { Route } from "../domain/Route.ts"
import { ValueInvalid } from "./ConfigError.ts"
import type { DestinationTable, SourceTable } from "./ConfigTables.ts"
import { join } from "./canonicalKeys.ts"
import { checkTable } from "./checkTable.ts"
import { oneOf } from "./oneOf.ts"
import type { Place } from "./Place.ts"
import { formatDuration } from "./parseDuration.ts"
import { parsed, parsedTexts } from "./parsed.ts"
import { parseEncryptions } from "./parseEncryptions.ts"
import { parseDestinationUrl, parseSourceUrl } from "./parseEndpointUrl.ts"
import { positiveDuration } from "./positiveDuration.ts"
import { transportSetting } from "./transportSetting.ts"

export interface EndpointConfig {
  readonly route: Route
  /** What may carry its links, of what the client has. */
  readonly transport: TransportChoice
  /** How streams through a relay may be encrypted; both ends must allow it. */
  readonly relayEncryptions: ReadonlyArray<Encryption>
  /** How long reaching the other end may take; undefined: as long as the default of whoever dials. */
  readonly dialTimeout: Duration.Duration | undefined
  /** What is shown over TLS: a source needs it, a destination may have it. */
  readonly certificate: CertificateFiles | undefined
}

/** PEM files of a certificate and its private key, which may be the same. */
export interface CertificateFiles {
  readonly certificateFile: string
  readonly keyFile: string
}

export interface DestinationConfig extends EndpointConfig {
  readonly url: DestinationUrl
  /** Whose certificates are taken from the service: those of the system's roots, of the roots in a PEM file, or anyone's. */
  readonly trust: "system" | "anyone" | { readonly file: string }
  /** The header that tells the service who its users are. */
  readonly proxyHeader: "none" | "v1" | "v2"
  /** Whether a service of http sees the Host that its user asked for, instead of the URL's. */
  readonly preserveHost: boolean
  /** Whether folders without an index are listed. */
  readonly listings: boolean
  /** Whether files whose names begin with a dot are served. */
  readonly dotFiles: boolean
  /** Whether sources are told when the service cannot be reached. */
  readonly health: boolean
  /** Whether sources may send the first bytes of a user before the service has been reached. */
  readonly earlyData: boolean
}

export interface SourceConfig extends EndpointConfig {
  readonly url: SourceUrl
  /** Users must show a certificate that leads to a root in this PEM file. */
  readonly authoritiesFile: string | undefined
  readonly balancing: Balancing
  /** Whether destinations see the Host that a user of http asked for, instead of the endpoint's name. */
  readonly preserveHost: boolean
}

/** What holds for endpoints that do not say otherwise. */
export type EndpointDefaults = Pick<EndpointConfig, "relayEncryptions" | "transport">

/** A destination, or all that is wrong with it. */
export const destinationConfig = (table: DestinationTable, defaults: EndpointDefaults, place: Place) =>
  Result.flatMap(checkTable(DestinationSettings, table, place), (settings) => {
    const { url, "cas-file": authorities, "proxy-proto-version": version } = settings
    const problems = [
      ...transportProblems(settings, defaults),
      ...tlsProblems(settings),
      ...hostProblems(settings),
      ...proxyProblems(settings),
      ...fileProblems(settings),
      ...serviceProblems(settings)
    ]
    return unless(problems, place, {
      ...common(settings, defaults),
      url,
      trust: authorities === undefined ? "system" : authorities === SKIP_VERIFY ? "anyone" : { file: authorities },
      proxyHeader: version ?? "none",
      preserveHost: settings["preserve-host"] ?? false,
      listings: !settings["listings-disable"],
      dotFiles: settings["dot-files"] ?? false,
      health: !settings["health-disable"],
      earlyData: !settings["early-data-disable"]
    } satisfies DestinationConfig)
  })

/** A source, or all that is wrong with it. */
export const sourceConfig = (table: SourceTable, defaults: EndpointDefaults, place: Place) =>
  Result.flatMap(checkTable(SourceSettings, table, place), (settings) => {
    const problems = [
      ...transportProblems(settings, defaults),
      ...tlsProblems(settings),
      ...sourceTlsProblems(settings),
      ...hostProblems(settings),
      ...balancingProblems(settings)
    ]
    return unless(problems, place, {
      ...common(settings, defaults),
      url: settings.url,
      authoritiesFile: settings["cas-file"],
      balancing: balancingOf(settings),
      preserveHost: settings["preserve-host"] ?? false
    } satisfies SourceConfig)
  })

const endpointSettings = {
  route: parsed(oneOf("a route", Route.literals)).pipe(Schema.withDecodingDefaultKey(Effect.succeed("any"))),
  transport: Schema.optionalKey(transportSetting),
  "relay-encryptions": Schema.optionalKey(parsedTexts(parseEncryptions)),
  "dial-timeout": Schema.optionalKey(
    Schema.BigInt.check(
      Schema.makeFilter((nanos) =>
        nanos < 0n ? `${formatDuration(nanos)} is negative; write a positive duration, or leave it out` : undefined
      )
    )
  ),
  "cas-file": Schema.optionalKey(Schema.String),
  "cert-file": Schema.optionalKey(Schema.String),
  "key-file": Schema.optionalKey(Schema.String),
  "preserve-host": Schema.optionalKey(Schema.Boolean)
}

const POLICIES = BalancePolicy.literals.filter((policy) => policy !== "none")

const DestinationSettings = Schema.Struct({
  ...endpointSettings,
  url: parsed(parseDestinationUrl).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
  "proxy-proto-version": Schema.optionalKey(parsed(oneOf("a version of the PROXY protocol", ["v1", "v2"]))),
  "listings-disable": Schema.optionalKey(Schema.Boolean),
  "dot-files": Schema.optionalKey(Schema.Boolean),
  "health-disable": Schema.optionalKey(Schema.Boolean),
  "early-data-disable": Schema.optionalKey(Schema.Boolean)
})

const SourceSettings = Schema.Struct({
  ...endpointSettings,
  url: parsed(parseSourceUrl).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
  "lb-policy": Schema.optionalKey(parsed(oneOf("a policy", POLICIES))),
  "lb-retry": Schema.optionalKey(parsed(oneOf("a way to retry", ["count", "timed", "all"]))),
  "lb-retry-max": Schema.optionalKey(
    Schema.BigInt.check(
      Schema.makeFilter((max) =>
        max < 0n || max > MAX_RETRY ? `${max} is not possible; write a whole number from 1 to ${MAX_RETRY}` : undefined
      )
    )
  )
})

/** A day of milliseconds, and more destinations than anybody has. */
const MAX_RETRY = 86_400_000n

type Common = Schema.Struct.Type<typeof endpointSettings> & { readonly url: EndpointUrl }

const common = (settings: Common, defaults: EndpointDefaults): EndpointConfig => {
  const { "cert-file": certificateFile, "key-file": keyFile } = settings
  return {
    route: settings.route,
    transport: settings.transport ?? defaults.transport,
    relayEncryptions: settings["relay-encryptions"] ?? defaults.relayEncryptions,
    dialTimeout: positiveDuration(settings["dial-timeout"]),
    certificate: certificateFile === undefined || keyFile === undefined ? undefined : { certificateFile, keyFile }
  }
}

/** What `cas-file` of a destination is for no check at all, as upstream has it. */
export const SKIP_VERIFY = "insecure-skip-verify"

/** What is wrong with a key in the light of other ones. */
interface Problem {
  readonly key: string
  readonly detail: string
}

const transportProblems = ({ transport }: Common, defaults: EndpointDefaults): ReadonlyArray<Problem> =>
  transport === undefined || defaults.transport === "auto" || defaults.transport === transport
    ? []
    : [
        {
          key: "transport",
          detail: `"${transport}" is more than the client has with client.transport = "${defaults.transport}"; change one of them`
        }
      ]

const TLS_KEYS = ["cas-file", "cert-file", "key-file"] as const

const tlsProblems = (settings: Common): ReadonlyArray<Problem> => {
  const { url, "cert-file": certificate, "key-file": key } = settings
  if (!isSecure(url)) {
    return TLS_KEYS.filter((name) => settings[name] !== undefined).map((name) => ({
      key: name,
      detail: `${url._tag} URLs have no TLS; leave it out, or write tls://host:port as the url`
    }))
  }
  if (certificate !== undefined && key === undefined) {
    return [{ key: "key-file", detail: "there is none for the certificate in cert-file; name the file of its key" }]
  }
  if (certificate === undefined && key !== undefined) {
    return [{ key: "cert-file", detail: "there is none for the key in key-file; name the file of its certificate" }]
  }
  return []
}

const sourceTlsProblems = (settings: Common): ReadonlyArray<Problem> => {
  if (!isSecure(settings.url)) return []
  return [
    ...(settings["cert-file"] === undefined && settings["key-file"] === undefined
      ? [
          {
            key: "cert-file",
            detail: `a source at ${settings.url._tag}:// needs a certificate; set cert-file and key-file`
          }
        ]
      : []),
    ...(settings["cas-file"] === SKIP_VERIFY
      ? [{ key: "cas-file", detail: "users are not asked for certificates unless it names a file; leave it out" }]
      : [])
  ]
}

const hostProblems = ({ url, "preserve-host": preserve }: Common): ReadonlyArray<Problem> =>
  preserve === undefined || url._tag === "http" || url._tag === "https"
    ? []
    : [{ key: "preserve-host", detail: `requests are not looked at with a ${url._tag} URL; leave it out` }]

type DestinationValues = typeof DestinationSettings.Type

const proxyProblems = ({ url, "proxy-proto-version": version }: DestinationValues): ReadonlyArray<Problem> => {
  if (version === undefined || url._tag === "tcp" || url._tag === "tls" || url._tag === "unix") return []
  const detail =
    url._tag === "file"
      ? "there is no service to tell who its users are; leave it out"
      : "one connection to the service carries requests of many users, who are told in X-Forwarded-For and Forwarded; leave it out, or write tcp:// as the url"
  return [{ key: "proxy-proto-version", detail }]
}

const fileProblems = (settings: DestinationValues): ReadonlyArray<Problem> =>
  settings.url._tag === "file"
    ? []
    : (["listings-disable", "dot-files"] as const)
        .filter((key) => settings[key] !== undefined)
        .map((key) => ({ key, detail: "it is for folders; leave it out, or write file:/path as the url" }))

const serviceProblems = (settings: DestinationValues): ReadonlyArray<Problem> => [
  ...(settings["health-disable"] !== undefined && settings.url._tag === "file"
    ? [{ key: "health-disable", detail: "there is no service that could be down; leave it out" }]
    : []),
  ...(settings["early-data-disable"] !== undefined && settings["proxy-proto-version"] !== undefined
    ? [{ key: "early-data-disable", detail: "with proxy-proto-version nothing is sent early anyway; leave it out" }]
    : [])
]

type SourceValues = typeof SourceSettings.Type

const balancingProblems = (settings: SourceValues): ReadonlyArray<Problem> => {
  const { "lb-policy": policy, "lb-retry": retry, "lb-retry-max": max } = settings
  const retryProblem = {
    key: "lb-retry",
    detail: "without lb-policy every path is tried; set lb-policy, or leave it out"
  }
  const maxProblem = { key: "lb-retry-max", detail: 'it is for lb-retry = "count" and "timed" only; leave it out' }
  return [
    ...(retry !== undefined && policy === undefined ? [retryProblem] : []),
    ...(max !== undefined && retry !== "count" && retry !== "timed" ? [maxProblem] : [])
  ]
}

/** Upstream's. */
const DEFAULT_DESTINATIONS = 2
const DEFAULT_MILLIS = 1_000

const balancingOf = (settings: SourceValues): Balancing => {
  const { "lb-policy": policy = "none", "lb-retry": retry, "lb-retry-max": max } = settings
  return { policy, retry: policy === "none" ? { _tag: "All" } : retryOf(retry, max === undefined ? max : Number(max)) }
}

const retryOf = (retry: SourceValues["lb-retry"], max: number | undefined): Retry => {
  switch (retry) {
    case "count":
      return { _tag: "Count", destinations: max ?? DEFAULT_DESTINATIONS }
    case "timed":
      return { _tag: "Timed", millis: max ?? DEFAULT_MILLIS }
    case "all":
      return { _tag: "All" }
    default:
      return { _tag: "Never" }
  }
}

const unless = <A>(problems: ReadonlyArray<Problem>, place: Place, value: A) =>
  problems.length === 0
    ? Result.succeed(value)
    : Result.fail(
        problems.map(
          ({ key, detail }) => new ValueInvalid({ origin: place.origin([key]), key: join(place.key, key), detail })
        )
      )
