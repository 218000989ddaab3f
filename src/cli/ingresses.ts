import { Effect } from "effect"
import type { CertsError } from "../certs/CertsError.ts"
import { loadIdentity } from "../certs/load.ts"
import type { CertificateFiles } from "../config/EndpointConfig.ts"
import type { IngressConfig, RelayIngressConfig } from "../config/Ingress.ts"
import type { Place } from "../config/Place.ts"
import { type AddressRules, makeGate } from "../domain/AddressRules.ts"
import { listenAddress } from "./listenAddress.ts"

/**
 * Where clients or relays of a control server come in, with addresses resolved and certificates loaded. Each is the gate of
 * its address rules, too.
 */
export const ingresses = <Files, I>(
  place: Place,
  configs: ReadonlyArray<IngressConfig<Files>>,
  identityOf: (files: Files) => Effect.Effect<I, CertsError>
) =>
  Effect.forEach(configs, ({ address, certificate, addresses }, index) =>
    Effect.all({
      address: listenAddress(addrOf(place, index), address),
      identity: identityOf(certificate)
    }).pipe(Effect.map((parts) => ({ ...parts, ...makeGate(addresses) })))
  )

/** The identity in the files of a certificate and its key. */
export const identityIn = ({ certificateFile, keyFile }: CertificateFiles) => loadIdentity(certificateFile, keyFile)

/** Where clients of a relay come in, with addresses resolved; gates, too. */
export const relayIngresses = (place: Place, configs: ReadonlyArray<RelayIngressConfig>) =>
  Effect.forEach(configs, ({ address, advertised, addresses }, index) =>
    Effect.map(listenAddress(addrOf(place, index), address), (address) => ({
      address,
      advertised,
      ...makeGate(addresses)
    }))
  )

/** Other address rules from now on, where there are as many ingresses as before: sockets are opened at the start only. */
export const replaceRules = Effect.fnUntraced(function* (
  key: string,
  running: ReadonlyArray<{ readonly replace: (rules: AddressRules) => void }>,
  newer: ReadonlyArray<{ readonly addresses: AddressRules }>
) {
  if (running.length !== newer.length) {
    const hint = "there are others than before: restart to open or close sockets"
    return yield* Effect.annotateLogs(Effect.logWarning("settings.ignored"), { key, hint })
  }
  for (const [index, { addresses }] of newer.entries()) running[index]!.replace(addresses)
})

/** Where the address of an ingress is. */
const addrOf = ({ key, origin }: Place, index: number): Place => ({
  key: `${key}[${index}].addr`,
  origin: () => origin([index, "addr"])
})
