import { Effect } from "effect"
import { loadIdentity } from "../certs/load.ts"
import type { IngressConfig, RelayIngressConfig } from "../config/Ingress.ts"
import { listenAddress } from "./listenAddress.ts"

/** Where clients or relays of a control server come in, with addresses resolved and certificates loaded. */
export const ingresses = (key: string, configs: ReadonlyArray<IngressConfig>) =>
  Effect.forEach(configs, (ingress, index) =>
    Effect.all({
      address: listenAddress(`${key}[${index}].addr`, ingress.address),
      identity: loadIdentity(ingress.certificateFile, ingress.keyFile)
    })
  )

/** Where clients of a relay come in, with addresses resolved. */
export const relayIngresses = (key: string, configs: ReadonlyArray<RelayIngressConfig>) =>
  Effect.forEach(configs, ({ address, advertised }, index) =>
    Effect.map(listenAddress(`${key}[${index}].addr`, address), (address) => ({ address, advertised }))
  )
