/**
 * The settings of a client, checked: `[client]` of the files and the client's flags.
 */
import { type Duration, Effect, type Redacted, Result, Schema } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import { EndpointName } from "../domain/EndpointName.ts"
import { ValueInvalid } from "./ConfigError.ts"
import type { ClientTable, ConfigSource } from "./ConfigTables.ts"
import { join } from "./canonicalKeys.ts"
import { checkTable } from "./checkTable.ts"
import { distinctAddresses } from "./distinctAddresses.ts"
import {
  type DestinationConfig,
  destinationConfig,
  type EndpointDefaults,
  type SourceConfig,
  sourceConfig
} from "./EndpointConfig.ts"
import { effective } from "./effective.ts"
import { type HostPort, parseListenAddress, parseServerAddress } from "./HostPort.ts"
import { invalidValues } from "./invalidValues.ts"
import { type NatPmp, natPmpSetting } from "./NatPmp.ts"
import { type Place, placeOf } from "./Place.ts"
import type { ProxySetting } from "./ProxySetting.ts"
import { parsed, parsedTexts } from "./parsed.ts"
import { parseEncryptions } from "./parseEncryptions.ts"
import { resetKey } from "./resetKey.ts"
import { parsePin, parseServerLink } from "./ServerLink.ts"
import { handshakeTimeout, sessionSettings } from "./sessionSettings.ts"
import { statusAddress } from "./statusAddress.ts"
import { clientToken } from "./Tokens.ts"
import { type Tuning, tuning } from "./Tuning.ts"
import { all, type Checked, problemsOf, together } from "./together.ts"

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
  /** The SHA-256 fingerprint of the server's certificate, which then needs neither roots nor name. */
  readonly serverPin: string | undefined
  /** Where the one socket of the client is bound. */
  readonly directAddress: HostPort
  /** Whether another port does as well, because nobody chose this one. */
  readonly anyDirectPort: boolean
  /** Where it tells its status over HTTP; undefined: nowhere. */
  readonly statusAddress: HostPort | undefined
  /** How the router is found that shall forward the port of that socket. */
  readonly natPmp: NatPmp
  /** What all tokens of stateless resets follow from; undefined: nothing is configured. */
  readonly resetKey: Redacted.Redacted<Uint8Array> | undefined
  /** How TCP connections to the server and to relays are dialed. */
  readonly proxy: ProxySetting
  /** What it listens on and dials with. */
  readonly transport: TransportChoice
  readonly tuning: Tuning
  readonly handshakeTimeout: Duration.Duration
  readonly destinations: ReadonlyMap<EndpointName, DestinationConfig>
  readonly sources: ReadonlyMap<EndpointName, SourceConfig>
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const clientConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = effective(sources).client
  const place = placeOf(sources, "client")
  const { origin } = place

  const settings = checkTable(ClientSettings, table, place)
  const defaults: EndpointDefaults = Result.isSuccess(settings)
    ? { relayEncryptions: settings.success["relay-encryptions"], transport: settings.success.transport }
    : { relayEncryptions: [], transport: "auto" }

  const endpoints = <Table, Config>(
    kind: "destinations" | "sources",
    tables: Readonly<Record<string, Table>>,
    check: (table: Table, defaults: EndpointDefaults, place: Place) => Checked<Config>
  ): Checked<ReadonlyMap<EndpointName, Config>> => {
    const entries = Object.entries(tables).map(([name, endpoint]): Checked<[EndpointName, Config]> => {
      const place: Place = {
        key: join(`client.${kind}`, name),
        origin: (path) => origin([kind, name, ...path])
      }
      const validName = Result.mapError(Schema.decodeResult(EndpointName)(name), (error) =>
        invalidValues(error, place.key, () => place.origin([]))
      )
      const result = check(endpoint, defaults, place)
      return Result.isSuccess(validName) && Result.isSuccess(result)
        ? Result.succeed([validName.success, result.success])
        : Result.fail(problemsOf([validName, result]))
    })
    return Result.map(all(entries), (entries) => new Map(entries))
  }

  const sourcesChecked = endpoints("sources", table.sources ?? {}, sourceConfig)
  const listening = [...Result.getOrElse(sourcesChecked, () => [])].flatMap(([name, { url }]) =>
    url._tag === "unix"
      ? []
      : [{ key: join(join("client.sources", name), "url"), origin: origin(["sources", name, "url"]), address: url }]
  )
  const checked = yield* together({
    settings,
    tuning: tuning(sources, "client", table.tuning),
    linked: linkedOnce(sources),
    pinned: pinnedAlone(table, place),
    statusAddress: statusAddress(sources, "client", table),
    destinations: endpoints("destinations", table.destinations ?? {}, destinationConfig),
    sources: sourcesChecked,
    distinct: distinctAddresses(listening),
    token: yield* Effect.result(
      clientToken({ file: table["token-file"] ?? "", literal: table.token ?? "", origin: (name) => origin([name]) })
    ),
    resetKey: yield* Effect.result(
      resetKey({
        file: table["direct-stateless-reset-key-file"] ?? "",
        literal: table["direct-stateless-reset-key"] ?? "",
        origin: (name) => origin([name])
      })
    )
  })
  const server = checked.settings["server-addr"]
  return {
    token: checked.token,
    metadata: checked.settings.metadata,
    server,
    serverName: checked.settings["server-name"] ?? server.host,
    serverAuthoritiesFile: checked.settings["server-cas-file"],
    resetKey: checked.resetKey,
    serverPin: checked.settings["server-pin"],
    directAddress: checked.settings["direct-addr"],
    anyDirectPort: sources.every(({ tables }) => (tables.client?.["direct-addr"] ?? "") === ""),
    statusAddress: checked.statusAddress,
    natPmp: checked.settings["nat-pmp"],
    proxy: checked.settings.proxy,
    transport: checked.settings.transport,
    tuning: checked.tuning,
    handshakeTimeout: handshakeTimeout(checked.settings),
    destinations: checked.destinations,
    sources: checked.sources
  } satisfies ClientConfig
})

/** No source says with a link and otherwise where the server is. */
const linkedOnce = (sources: ReadonlyArray<ConfigSource>): Checked<unknown> => {
  const detail = "the link in client.server says it already; leave one of them out"
  return all(
    sources.map((source) => {
      const table = source.tables.client ?? {}
      return alone("server", ["server-addr", "server-pin"], table, placeOf([source], "client"), detail)
    })
  )
}

/** With a pin nobody else vouches for the server. */
const pinnedAlone = (table: ClientTable, place: Place): Checked<unknown> => {
  const detail = "the pin of the server says who it is; leave one of them out"
  return alone("server-pin", ["server-cas-file", "server-name"], table, place, detail)
}

/** A table that sets a key sets none of some others. */
const alone = (
  key: keyof ClientTable,
  others: ReadonlyArray<keyof ClientTable>,
  table: ClientTable,
  place: Place,
  detail: string
): Checked<unknown> =>
  all(
    others
      .filter((other) => table[key] && table[other])
      .map((other) =>
        Result.fail(new ValueInvalid({ origin: place.origin([other]), key: join(place.key, other), detail }))
      )
  )

const ClientSettings = Schema.Struct({
  ...sessionSettings,
  // One that can be read is not here any more.
  server: Schema.optionalKey(parsed(parseServerLink)),
  "server-pin": Schema.optionalKey(parsed(parsePin)),
  "server-addr": parsed(parseServerAddress(19190)),
  "server-name": Schema.optionalKey(Schema.String),
  "server-cas-file": Schema.optionalKey(Schema.String),
  "direct-addr": parsed(parseListenAddress),
  "nat-pmp": natPmpSetting,
  "relay-encryptions": parsedTexts(parseEncryptions)
})
