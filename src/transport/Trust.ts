/**
 * Who may be at the other end of a connection: one decision for every transport, made on the certificate that the other
 * end showed and whose key it proved to have.
 */
import { createHash, type X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import { certificateKey } from "../certs/certificateKey.ts"
import { readCertificate } from "../certs/readCertificate.ts"
import {
  CertificateExpired,
  CertificateMissing,
  CertificateNameMismatch,
  CertificateUnexpected,
  CertificateUntrusted,
  FingerprintMismatch,
  type TransportReason
} from "./TransportError.ts"

export type Trust =
  /** Exactly this certificate (DER), if it is valid now. Its first DNS name is sent as the server name (SNI). */
  | { readonly _tag: "Pinned"; readonly certificate: Uint8Array }
  /** One of a set that may change at any time: the function is asked at each handshake. */
  | { readonly _tag: "Expected"; readonly expects: (certificate: Uint8Array) => boolean }
  /** A chain to one of these roots (PEM; `undefined`: the system's), for this DNS name or IP address. */
  | { readonly _tag: "Authorities"; readonly roots: ReadonlyArray<string> | undefined; readonly name: string }
  /**
   * The certificate with this SHA-256 of its DER form (64 lower-case hexadecimal letters). Neither its chain nor its names
   * nor its dates are looked at: the fingerprint says exactly which one it is, and a device that does not know the time yet
   * must come online, too.
   */
  | { readonly _tag: "Fingerprint"; readonly sha256: string }
  /** Anyone, certificate or not: for listeners whose protocol authenticates in another way. */
  | { readonly _tag: "Anyone" }

export const Trust = {
  pinned: (certificate: Uint8Array): Trust => ({ _tag: "Pinned", certificate }),
  expected: (expects: (certificate: Uint8Array) => boolean): Trust => ({ _tag: "Expected", expects }),
  authorities: (name: string, roots?: ReadonlyArray<string>): Trust => ({ _tag: "Authorities", roots, name }),
  fingerprint: (sha256: string): Trust => ({ _tag: "Fingerprint", sha256 }),
  anyone: { _tag: "Anyone" } as Trust
}

/** The name to ask for in the handshake (SNI, RFC 6066 §3), if there is one: an IP address is never sent. */
export const serverName = (trust: Trust): string | undefined => {
  switch (trust._tag) {
    case "Authorities":
      return isIP(trust.name) === 0 ? trust.name : undefined
    case "Pinned":
      return dnsNames(readCertificate(trust.certificate))[0]
    default:
      return undefined
  }
}

/** The DNS names of a certificate, in order. */
export const dnsNames = (certificate: X509Certificate): ReadonlyArray<string> =>
  (certificate.subjectAltName ?? "").split(", ").flatMap((name) => (name.startsWith("DNS:") ? [name.slice(4)] : []))

/**
 * Why `shown` (DER) is refused, or undefined when it may enter. For `Authorities` the transport has checked the chain
 * already, and tells with `chainTrusted` how that went.
 */
export const refusal = (
  trust: Trust,
  shown: Uint8Array | undefined,
  now: Date,
  chainTrusted = false
): TransportReason | undefined => {
  if (trust._tag === "Anyone") return undefined
  if (shown === undefined) return new CertificateMissing()
  if (trust._tag === "Fingerprint") {
    const fingerprint = createHash("sha256").update(shown).digest("hex")
    return fingerprint === trust.sha256
      ? undefined
      : new FingerprintMismatch({ expected: trust.sha256, shown: fingerprint })
  }
  if (trust._tag === "Pinned" && Buffer.compare(trust.certificate, shown) !== 0) {
    return new CertificateUnexpected({ shown: certificateKey(shown) })
  }
  const certificate = readCertificate(trust._tag === "Pinned" ? trust.certificate : shown)
  if (trust._tag === "Expected" && !trust.expects(shown)) {
    return new CertificateUnexpected({ shown: certificateKey(shown) })
  }
  if (now < certificate.validFromDate || now > certificate.validToDate) {
    return new CertificateExpired({ validFrom: certificate.validFrom, validTo: certificate.validTo })
  }
  if (trust._tag !== "Authorities") return undefined
  const matches = isIP(trust.name) === 0 ? certificate.checkHost(trust.name) : certificate.checkIP(trust.name)
  if (matches === undefined) {
    return new CertificateNameMismatch({ expected: trust.name, names: certificate.subjectAltName ?? "" })
  }
  return chainTrusted
    ? undefined
    : new CertificateUntrusted({ detail: `issued by ${certificate.issuer.replaceAll("\n", ", ")}` })
}
