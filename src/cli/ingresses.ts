import { Effect } from "effect"
import { loadIdentity } from "../certs/load.ts"
import type { IngressConfig, RelayIngressConfig } from "../config/Ingress.ts"
import { makeGate } from "../domain/AddressRules.ts"
import { listenAddress } from "./listenAddress.ts"

/**
 * Where clients or relays of a control server come in, with addresses resolved and certificates loaded. Each is the gate of
 * its address rules, too.
 */
export const ingresses = (key: string, configs: ReadonlyArray<IngressConfig>) =>
  Effect.forEach(configs, (ingress, index) =>
    Effect.all({
      address: listenAddress(`${key}[${index}].addr`, ingress.address),
      identity: loadIdentity(ingress.certificateFile, ingress.keyFile)
    }).pipe(Effect.map((parts) => ({ ...parts, ...makeGate(ingress.addresses) })))
  )

/** Where clients of a relay come in, with addresses resolved; gates, too. */
export const relayIngresses = (key: string, configs: ReadonlyArray<RelayIngressConfig>) =>
  Effect.forEach(configs, ({ address, advertised, addresses }, index) =>
    Effect.map(listenAddress(`${key}[${index}].addr`, address), (address) => ({
      address,
      advertised,
      ...makeGate(addresses)
    }))
  )
