import type { X509Certificate } from "node:crypto"
import type { Redacted } from "effect"

/** A certificate, the certificates that vouch for it, and its private key: what one end of a link shows to the other. */
export interface Identity {
  /** The leaf, parsed. `leaf.raw` is its DER, `leaf.subjectAltName` its names. */
  readonly leaf: X509Certificate
  /** PEM of the leaf followed by its intermediates, as TLS servers present it. */
  readonly certificatePem: string
  /** PEM (PKCS #8 or traditional) of the private key of the leaf. */
  readonly privateKeyPem: Redacted.Redacted<string>
}
