import { Effect } from "effect"
import type { CertsError } from "../certs/CertsError.ts"
import { loadIdentity } from "../certs/load.ts"
import type { CertificateFiles } from "../config/EndpointConfig.ts"
import type { IngressConfig, RelayIngressConfig } from "../config/Ingress.ts"
import { makeGate } from "../domain/AddressRules.ts"
import { listenAddress } from "./listenAddress.ts"

/**
 * Where clients or relays of a control server come in, with addresses resolved and certificates loaded. Each is the gate of
 * its address rules, too.
 */
export const ingresses = <Files, I>(
  key: string,
  configs: ReadonlyArray<IngressConfig<Files>>,
  identityOf: (files: Files) => Effect.Effect<I, CertsError>
) =>
  Effect.forEach(configs, ({ address, certificate, addresses }, index) =>
    Effect.all({
      address: listenAddress(`${key}[${index}].addr`, address),
      identity: identityOf(certificate)
    }).pipe(Effect.map((parts) => ({ ...parts, ...makeGate(addresses) })))
  )

/** The identity in the files of a certificate and its key. */
export const identityIn = ({ certificateFile, keyFile }: CertificateFiles) => loadIdentity(certificateFile, keyFile)

/** Where clients of a relay come in, with addresses resolved; gates, too. */
export const relayIngresses = (key: string, configs: ReadonlyArray<RelayIngressConfig>) =>
  Effect.forEach(configs, ({ address, advertised, addresses }, index) =>
    Effect.map(listenAddress(`${key}[${index}].addr`, address), (address) => ({
      address,
      advertised,
      ...makeGate(addresses)
    }))
  )
