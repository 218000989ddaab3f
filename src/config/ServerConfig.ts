/**
 * The settings of a server, checked: `[server]` of the files and the server's flags.
 */
import { type Duration, Effect } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { TokenRule } from "../domain/TokenRule.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { effective } from "./effective.ts"
import { endpointExpiry } from "./endpointExpiry.ts"
import { checkIngresses, checkRelayIngresses, type IngressConfig, type RelayIngressConfig } from "./Ingress.ts"
import { placeIn } from "./Place.ts"
import { type RelayLimits, relayLimits } from "./RelayLimits.ts"
import { storeFolder } from "./storeFolder.ts"
import { tokenRules } from "./TokenRules.ts"
import { type Tuning, tuning } from "./Tuning.ts"
import { together } from "./together.ts"
import { roleTransport } from "./transportSetting.ts"

export interface ServerConfig {
  /** The tokens of clients, with what may be done with each. Empty: no client can connect. */
  readonly tokens: ReadonlyArray<TokenRule>
  /** Where clients connect to; at least one. */
  readonly ingresses: readonly [IngressConfig, ...Array<IngressConfig>]
  /** How long the endpoints of a lost client stay announced; zero: they are withdrawn at once. */
  readonly endpointExpiry: Duration.Duration
  /** Where clients reach the relay within the server; at least one. */
  readonly relayIngresses: ReadonlyArray<RelayIngressConfig>
  readonly relayLimits: RelayLimits
  /** What it listens on. */
  readonly transport: TransportChoice
  readonly tuning: Tuning
  /** Where it keeps what must survive a restart; undefined: nowhere. */
  readonly storeFolder: string | undefined
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const serverConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = effective(sources).server
  const place = placeIn(sources, "server")
  const checked = yield* together({
    transport: roleTransport(sources, "server", table),
    tuning: tuning(sources, "server", table.tuning),
    ingresses: checkIngresses(table.ingress, place("ingress"), ":19190"),
    relayIngresses: checkRelayIngresses(table["relay-ingress"], place("relay-ingress")),
    tokens: yield* Effect.result(
      tokenRules({
        of: "clients",
        place: place("tokens"),
        file: table["tokens-file"] ?? "",
        literals: table.tokens ?? [],
        restrictionPlace: place("token-restriction"),
        restrictions: table["token-restriction"] ?? []
      })
    )
  })
  return {
    ...checked,
    endpointExpiry: endpointExpiry(table),
    relayLimits: relayLimits(table["relay-limits"]),
    storeFolder: yield* storeFolder(table["store-dir"])
  } satisfies ServerConfig
})
