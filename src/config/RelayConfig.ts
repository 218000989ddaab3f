/**
 * The settings of a relay, checked: `[relay]` of the files and its flags.
 */
import { type Duration, Effect, type Redacted, Schema } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { checkTable } from "./checkTable.ts"
import { distinctAddresses, listeningAt } from "./distinctAddresses.ts"
import { effective } from "./effective.ts"
import { type HostPort, parseServerAddress } from "./HostPort.ts"
import { checkRelayIngresses, type RelayIngressConfig } from "./Ingress.ts"
import { placeIn, placeOf } from "./Place.ts"
import type { ProxySetting } from "./ProxySetting.ts"
import { parsed } from "./parsed.ts"
import { type RelayLimits, relayLimits } from "./RelayLimits.ts"
import { handshakeTimeout, sessionSettings } from "./sessionSettings.ts"
import { statusAddress } from "./statusAddress.ts"
import { storeFolder } from "./storeFolder.ts"
import { relayToken } from "./Tokens.ts"
import { type Tuning, tuning } from "./Tuning.ts"
import { together } from "./together.ts"

export interface RelayConfig {
  /** What the control server knows this relay by; may be empty. */
  readonly token: Redacted.Redacted<string>
  /** Free text that the control server sees. */
  readonly metadata: string
  readonly control: HostPort
  /** The name that the control server's certificate must have: a DNS name or an IP address. */
  readonly controlName: string
  /** PEM file of the roots that the control server's certificate leads to; undefined: the system's. */
  readonly controlAuthoritiesFile: string | undefined
  /** How TCP connections to the control server are dialed. */
  readonly proxy: ProxySetting
  /** What it listens on, and what it dials the control server with. */
  readonly transport: TransportChoice
  readonly tuning: Tuning
  readonly handshakeTimeout: Duration.Duration
  /** Where it keeps what must survive a restart; undefined: nowhere. */
  readonly storeFolder: string | undefined
  /** Where clients reach it; at least one. */
  readonly ingresses: ReadonlyArray<RelayIngressConfig>
  readonly limits: RelayLimits
  /** Where it tells its status over HTTP; undefined: nowhere. */
  readonly statusAddress: HostPort | undefined
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const relayConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = effective(sources).relay
  const place = placeOf(sources, "relay")
  const ingressPlace = placeIn(sources, "relay")("ingress")
  const ingresses = checkRelayIngresses(table.ingress, ingressPlace)
  const {
    settings,
    distinct: _,
    ...checked
  } = yield* together({
    settings: checkTable(RelaySettings, table, place),
    tuning: tuning(sources, "relay", table.tuning),
    ingresses,
    distinct: distinctAddresses(listeningAt(ingressPlace, ingresses)),
    statusAddress: statusAddress(sources, "relay", table),
    token: yield* Effect.result(
      relayToken({
        file: table["token-file"] ?? "",
        literal: table.token ?? "",
        origin: (name) => place.origin([name])
      })
    )
  })
  return {
    ...checked,
    metadata: settings.metadata,
    control: settings["control-addr"],
    controlName: settings["control-name"] ?? settings["control-addr"].host,
    controlAuthoritiesFile: settings["control-cas-file"],
    proxy: settings.proxy,
    transport: settings.transport,
    handshakeTimeout: handshakeTimeout(settings),
    storeFolder: yield* storeFolder(table["store-dir"]),
    limits: relayLimits(table.limits)
  } satisfies RelayConfig
})

const RelaySettings = Schema.Struct({
  ...sessionSettings,
  "control-addr": parsed(parseServerAddress()),
  "control-name": Schema.optionalKey(Schema.String),
  "control-cas-file": Schema.optionalKey(Schema.String)
})
