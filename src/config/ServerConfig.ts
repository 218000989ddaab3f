/**
 * The settings of a server, checked: `[server]` of the files and the server's flags.
 */
import { type Duration, Effect } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { TokenRule } from "../domain/TokenRule.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { distinctAddresses, listeningAt } from "./distinctAddresses.ts"
import { effective } from "./effective.ts"
import { endpointExpiry } from "./endpointExpiry.ts"
import type { HostPort } from "./HostPort.ts"
import {
  checkIngresses,
  checkOwnIngresses,
  checkRelayIngresses,
  type RelayIngressConfig,
  type ServerIngressConfig
} from "./Ingress.ts"
import { placeIn } from "./Place.ts"
import { type RelayLimits, relayLimits } from "./RelayLimits.ts"
import { statusAddress } from "./statusAddress.ts"
import { storeFolder, userStateFolder } from "./storeFolder.ts"
import { tokenRules } from "./TokenRules.ts"
import { type Tuning, tuning } from "./Tuning.ts"
import { type Checked, together } from "./together.ts"
import { roleTransport } from "./transportSetting.ts"

export interface ServerConfig {
  /** The tokens of clients, with what may be done with each. Empty: no client can connect. */
  readonly tokens: ReadonlyArray<TokenRule>
  /** Where clients connect to; at least one. */
  readonly ingresses: ReadonlyArray<ServerIngressConfig>
  /** How long the endpoints of a lost client stay announced; zero: they are withdrawn at once. */
  readonly endpointExpiry: Duration.Duration
  /** Where clients reach the relay within the server; at least one. */
  readonly relayIngresses: ReadonlyArray<RelayIngressConfig>
  readonly relayLimits: RelayLimits
  /** What it listens on. */
  readonly transport: TransportChoice
  readonly tuning: Tuning
  /** Where it keeps what must survive a restart; undefined: nowhere. A certificate that it makes itself must. */
  readonly storeFolder: string | undefined
  /** Where it tells its status over HTTP; undefined: nowhere. */
  readonly statusAddress: HostPort | undefined
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const serverConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = effective(sources).server
  const place = placeIn(sources, "server")
  // Whoever has a certificate anywhere means it, also where folding has left an ingress without it.
  const certified = sources.some(({ tables }) =>
    tables.server?.ingress?.some((ingress) => ingress["cert-file"] || ingress["key-file"])
  )
  const ingresses: Checked<ReadonlyArray<ServerIngressConfig>> = certified
    ? checkIngresses(table.ingress, place("ingress"), ":19190")
    : checkOwnIngresses(table.ingress, place("ingress"), ":19190")
  const relayIngresses = checkRelayIngresses(table["relay-ingress"], place("relay-ingress"))
  const { distinct: _, ...checked } = yield* together({
    transport: roleTransport(sources, "server", table),
    tuning: tuning(sources, "server", table.tuning),
    ingresses,
    statusAddress: statusAddress(sources, "server", table),
    relayIngresses,
    distinct: distinctAddresses([
      ...listeningAt(place("ingress"), ingresses),
      ...listeningAt(place("relay-ingress"), relayIngresses)
    ]),
    tokens: yield* Effect.result(
      tokenRules({
        of: "clients",
        place: place("tokens"),
        filePlace: place("tokens-file"),
        file: table["tokens-file"] ?? "",
        literals: table.tokens ?? [],
        restrictionPlace: place("token-restriction"),
        restrictions: table["token-restriction"] ?? []
      })
    )
  })
  const configuredFolder = yield* storeFolder(table["store-dir"])
  return {
    ...checked,
    endpointExpiry: endpointExpiry(table),
    relayLimits: relayLimits(table["relay-limits"]),
    storeFolder: certified ? configuredFolder : (configuredFolder ?? (yield* userStateFolder("server")))
  } satisfies ServerConfig
})
