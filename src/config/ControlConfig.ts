/**
 * The settings of a control server without relay, checked: `[control]` of the files and its flags.
 */
import { type Duration, Effect } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { TokenRule } from "../domain/TokenRule.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { distinctAddresses, listeningAt } from "./distinctAddresses.ts"
import { effective } from "./effective.ts"
import { endpointExpiry } from "./endpointExpiry.ts"
import type { HostPort } from "./HostPort.ts"
import { checkIngresses, type IngressConfig } from "./Ingress.ts"
import { placeIn } from "./Place.ts"
import { statusAddress } from "./statusAddress.ts"
import { storeFolder } from "./storeFolder.ts"
import { tokenRules } from "./TokenRules.ts"
import { type Tuning, tuning } from "./Tuning.ts"
import { together } from "./together.ts"
import { roleTransport } from "./transportSetting.ts"

/** What lets in one kind of peers. */
export interface EntranceConfig {
  /** Their tokens, with what may be done with each. Empty: nobody can connect. */
  readonly tokens: ReadonlyArray<TokenRule>
  /** Where they connect to; at least one. */
  readonly ingresses: readonly [IngressConfig, ...Array<IngressConfig>]
}

export interface ControlConfig {
  readonly clients: EntranceConfig
  readonly relays: EntranceConfig
  /** How long the endpoints of a lost client stay announced; zero: they are withdrawn at once. */
  readonly endpointExpiry: Duration.Duration
  /** What it listens on. */
  readonly transport: TransportChoice
  readonly tuning: Tuning
  /** Where it keeps what must survive a restart; undefined: nowhere. */
  readonly storeFolder: string | undefined
  /** Where it tells its status over HTTP; undefined: nowhere. */
  readonly statusAddress: HostPort | undefined
}

/**
 * The settings after folding the sources, or everything that is wrong with them. Upstream starts without any ingress, and
 * nobody can ever connect; here both kinds of peers need one.
 */
export const controlConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = effective(sources).control
  const place = placeIn(sources, "control")
  const tokens = (of: "clients" | "relays") =>
    Effect.result(
      tokenRules({
        of,
        place: place(`${of}-tokens`),
        filePlace: place(`${of}-tokens-file`),
        file: table[`${of}-tokens-file`] ?? "",
        literals: table[`${of}-tokens`] ?? [],
        restrictionPlace: place(`${of}-token-restriction`),
        restrictions: table[`${of}-token-restriction`] ?? []
      })
    )
  const clientIngresses = checkIngresses(table["clients-ingress"], place("clients-ingress"), ":19190")
  const relayIngresses = checkIngresses(table["relays-ingress"], place("relays-ingress"), ":19189")
  const checked = yield* together({
    transport: roleTransport(sources, "control", table),
    tuning: tuning(sources, "control", table.tuning),
    statusAddress: statusAddress(sources, "control", table),
    clientIngresses,
    clientTokens: yield* tokens("clients"),
    relayIngresses,
    distinct: distinctAddresses([
      ...listeningAt(place("clients-ingress"), clientIngresses),
      ...listeningAt(place("relays-ingress"), relayIngresses)
    ]),
    relayTokens: yield* tokens("relays")
  })
  return {
    clients: { tokens: checked.clientTokens, ingresses: checked.clientIngresses },
    relays: { tokens: checked.relayTokens, ingresses: checked.relayIngresses },
    endpointExpiry: endpointExpiry(table),
    transport: checked.transport,
    tuning: checked.tuning,
    statusAddress: checked.statusAddress,
    storeFolder: yield* storeFolder(table["store-dir"])
  } satisfies ControlConfig
})
