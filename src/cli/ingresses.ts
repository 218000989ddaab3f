import { Effect, Queue, Stream } from "effect"
import type { CertsError } from "../certs/CertsError.ts"
import type { Identity } from "../certs/Identity.ts"
import { loadIdentity } from "../certs/load.ts"
import type { CertificateFiles } from "../config/EndpointConfig.ts"
import type { IngressConfig, RelayIngressConfig, ServerIngressConfig } from "../config/Ingress.ts"
import type { Place } from "../config/Place.ts"
import { type AddressRules, makeGate } from "../domain/AddressRules.ts"
import { listenAddress } from "./listenAddress.ts"

/**
 * Where clients or relays of a control server come in, with addresses resolved and certificates loaded. Each is the gate of
 * its address rules, too, and takes another certificate while it runs.
 */
export const ingresses = <Files, I extends Identity | undefined>(
  place: Place,
  configs: ReadonlyArray<IngressConfig<Files>>,
  identityOf: (files: Files) => Effect.Effect<I, CertsError>
) =>
  Effect.forEach(
    configs,
    Effect.fnUntraced(function* ({ address: written, certificate, addresses }, index) {
      const address = yield* listenAddress(addrOf(place, index), written)
      const identity = yield* identityOf(certificate)
      const renewals = yield* Queue.sliding<Identity>(1)
      let shown: Identity | undefined = identity
      const renew = Effect.fnUntraced(function* (next: Identity) {
        if (shown?.leaf.fingerprint256 === next.leaf.fingerprint256) return
        shown = next
        yield* Queue.offer(renewals, next)
        yield* Effect.logInfo("certificate.renewed").pipe(
          Effect.annotateLogs({ key: `${place.key}[${index}]`, until: next.leaf.validTo })
        )
      })
      return { address, identity, renewals: Stream.fromQueue(renewals), renew, ...makeGate(addresses) }
    })
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

/**
 * Other address rules and certificates from now on, where there are as many ingresses as before: sockets are opened at the
 * start only.
 */
export const takeOver = Effect.fnUntraced(function* (
  key: string,
  running: ReadonlyArray<Renewable>,
  newer: ReadonlyArray<{ readonly addresses: AddressRules }>,
  identities: ReadonlyArray<Identity | undefined> = []
) {
  if (running.length !== newer.length) {
    const hint = "there are others than before: restart to open or close sockets"
    return yield* Effect.annotateLogs(Effect.logWarning("settings.ignored"), { key, hint })
  }
  for (const [index, { replace, renew }] of running.entries()) {
    replace(newer[index]!.addresses)
    const identity = identities[index]
    if (renew !== undefined && identity !== undefined) yield* renew(identity)
  }
})

/** An ingress that takes over newer settings. */
interface Renewable {
  readonly replace: (rules: AddressRules) => void
  readonly renew?: (identity: Identity) => Effect.Effect<void>
}

/** The identities of ingresses whose certificates are configured. */
export const identitiesOf = (configs: ReadonlyArray<ServerIngressConfig>) =>
  Effect.forEach(configs, ({ certificate }) => (certificate === undefined ? Effect.undefined : identityIn(certificate)))

/** Where the address of an ingress is. */
const addrOf = ({ key, origin }: Place, index: number): Place => ({
  key: `${key}[${index}].addr`,
  origin: () => origin([index, "addr"])
})
