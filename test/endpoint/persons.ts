/** An authority as others have them, and the certificates that it issues to persons: for services and sources that ask for one. */
import "reflect-metadata"
import { webcrypto, X509Certificate } from "node:crypto"
import { BasicConstraintsExtension, X509CertificateGenerator } from "@peculiar/x509"
import { Effect, Redacted } from "effect"
import type { Identity } from "../../src/certs/Identity.ts"

const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
const DAY_MILLIS = 86_400_000

const generateKeys = () =>
  webcrypto.subtle.generateKey(ECDSA, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>

/** Issues certificates to persons, by their name. */
export const makePersons = Effect.fnUntraced(function* (authority = "Persons") {
  return yield* Effect.promise(() => make(authority))
})

const make = async (authority: string) => {
  const crypto = webcrypto as unknown as Crypto
  const dates = { notBefore: new Date(Date.now() - DAY_MILLIS), notAfter: new Date(Date.now() + DAY_MILLIS) }
  const rootKeys = await generateKeys()
  const root = await X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${authority}`,
      ...dates,
      keys: rootKeys,
      signingAlgorithm: ECDSA,
      extensions: [new BasicConstraintsExtension(true, undefined, true)]
    },
    crypto
  )
  const issue = (name: string) =>
    Effect.promise(async (): Promise<Identity> => {
      const keys = await generateKeys()
      const certificate = await X509CertificateGenerator.create(
        {
          subject: `CN=${name}`,
          issuer: root.subject,
          ...dates,
          publicKey: keys.publicKey,
          signingKey: rootKeys.privateKey,
          signingAlgorithm: ECDSA
        },
        crypto
      )
      const key = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)).toString("base64")
      const privateKeyPem = `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`
      const leaf = new X509Certificate(certificate.toString("pem"))
      return { leaf, certificatePem: leaf.toString(), privateKeyPem: Redacted.make(privateKeyPem) }
    })
  return { certificatePem: root.toString("pem"), issue }
}
