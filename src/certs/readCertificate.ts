import { X509Certificate } from "node:crypto"

const read = new WeakMap<Uint8Array, X509Certificate>()

/** A certificate from its DER, which must not change: the same array is read once. Throws when it is none. */
export const readCertificate = (der: Uint8Array): X509Certificate => {
  const known = read.get(der)
  if (known !== undefined) return known
  const certificate = new X509Certificate(der)
  read.set(der, certificate)
  return certificate
}
