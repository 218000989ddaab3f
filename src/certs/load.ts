/**
 * Certificates and keys from PEM files (RFC 7468). Text around the blocks is ignored, as `openssl` writes it.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import { readFile } from "node:fs/promises"
import { Clock, Effect, Redacted } from "effect"
import {
  CertificateAbsent,
  CertificateMalformed,
  CertsError,
  type CertsReason,
  FileMissing,
  FileUnreadable,
  KeyAbsent,
  KeyEncrypted,
  KeyMalformed,
  KeyMismatch
} from "./CertsError.ts"
import type { Identity } from "./Identity.ts"

/**
 * An identity from a file with its certificate (issuers behind it, if any) and a file with its key, which may be the
 * same one. Warns when the certificate is not valid at this time.
 */
export const loadIdentity = Effect.fnUntraced(function* (certificateFile: string, keyFile: string) {
  const certificates = yield* parseCertificates(certificateFile, yield* readText(certificateFile))
  const key = yield* parseKey(keyFile, yield* readText(keyFile))
  const [leaf, ...issuers] = certificates
  if (!leaf.checkPrivateKey(key)) {
    const ofLaterCertificate = issuers.some((issuer) => issuer.checkPrivateKey(key))
    return yield* failed(new KeyMismatch({ certificateFile, keyFile, ofLaterCertificate }))
  }
  const now = yield* Clock.currentTimeMillis
  if (now < leaf.validFromDate.getTime() || now > leaf.validToDate.getTime()) {
    yield* Effect.logWarning("certificate is not valid now: renew it, or check the clock").pipe(
      Effect.annotateLogs({ file: certificateFile, from: leaf.validFrom, to: leaf.validTo })
    )
  }
  return {
    leaf,
    certificatePem: certificates.map(String).join(""),
    privateKeyPem: Redacted.make(key.export({ type: "pkcs8", format: "pem" }), { label: "private key" })
  } satisfies Identity
})

/** The certificates of a file, as PEM: roots to trust. */
export const loadAuthorities = Effect.fnUntraced(function* (file: string) {
  const certificates = yield* parseCertificates(file, yield* readText(file))
  return certificates.map(String)
})

const readText = (file: string) =>
  Effect.tryPromise({
    try: () => readFile(file, "latin1"),
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error"
      return new CertsError({
        reason: code === "ENOENT" ? new FileMissing({ file }) : new FileUnreadable({ file, code })
      })
    }
  })

const parseCertificates = Effect.fnUntraced(function* (file: string, text: string) {
  const blocks = text.match(CERTIFICATE_BLOCK) ?? []
  const certificates: Array<X509Certificate> = []
  for (const block of blocks) {
    const certificate = attempt(() => new X509Certificate(block))
    if (certificate === undefined) {
      return yield* failed(new CertificateMalformed({ file, position: certificates.length + 1 }))
    }
    certificates.push(certificate)
  }
  const [leaf, ...issuers] = certificates
  if (leaf === undefined) return yield* failed(new CertificateAbsent({ file, holdsKey: KEY_BLOCK.test(text) }))
  return [leaf, ...issuers] as const
})

const parseKey = Effect.fnUntraced(function* (file: string, text: string) {
  const block = KEY_BLOCK.exec(text)?.[0]
  if (block === undefined) {
    return yield* failed(new KeyAbsent({ file, holdsCertificate: text.match(CERTIFICATE_BLOCK) !== null }))
  }
  // PKCS #8 says so in its label, the traditional formats in a header (RFC 1421 §4.6.1.1).
  if (block.startsWith("-----BEGIN ENCRYPTED") || block.includes("Proc-Type: 4,ENCRYPTED")) {
    return yield* failed(new KeyEncrypted({ file }))
  }
  const key: KeyObject | undefined = attempt(() => createPrivateKey(block))
  return key ?? (yield* failed(new KeyMalformed({ file })))
})

const failed = (reason: CertsReason) => Effect.fail(new CertsError({ reason }))

const attempt = <A>(parse: () => A): A | undefined => {
  try {
    return parse()
  } catch {
    return undefined
  }
}

const CERTIFICATE_BLOCK = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g
const KEY_BLOCK = /-----BEGIN ([A-Z]+ )*PRIVATE KEY-----[\s\S]*?-----END ([A-Z]+ )*PRIVATE KEY-----/
