/**
 * A root of our own that issues the certificates by which endpoints know each other. All keys are Ed25519.
 *
 * Invariants:
 * - The root's key never leaves the authority; roots never travel, their leaves are pinned.
 * - What is issued equals upstream's certificates field by field and in the order of extensions, but is valid from an
 *   hour before now, so that a peer whose clock is behind accepts it.
 * - A client leaf has the issuer's name as its subject: TLS servers advertise the subjects they accept, and a client
 *   shows only a certificate whose issuer is among them.
 */
import "reflect-metadata"
import { createHash, X509Certificate as NodeCertificate, randomBytes, webcrypto } from "node:crypto"
import { isIP } from "node:net"
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator
} from "@peculiar/x509"
import { Clock, Effect, Redacted } from "effect"
import type { Identity } from "./Identity.ts"

/** At least one DNS name or IP address; the first is also the subject of the certificate. */
export type ServerNames = readonly [string, ...Array<string>]

/** From when until when a certificate is valid. */
export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface Authority {
  /** The root, to be trusted by whoever shall trust everything that is issued here. */
  readonly certificatePem: string
  /** A leaf for a TLS server of these names, valid for two years unless told otherwise. */
  readonly issueServer: (names: ServerNames, validity?: Validity) => Effect.Effect<Identity>
  /** A leaf for a TLS client, valid for two years unless told otherwise. */
  readonly issueClient: (validity?: Validity) => Effect.Effect<Identity>
}

/** A new root, valid for 100 years unless told otherwise. */
export const makeAuthority = Effect.fnUntraced(function* (validity?: Validity) {
  const rootKeys = yield* generateKeys
  const rootKeyId = yield* keyId(rootKeys.publicKey)
  const root = yield* sign(rootKeys.privateKey, {
    subject: ROOT_NAME,
    publicKey: rootKeys.publicKey,
    validity: validity ?? (yield* validFor(100)),
    extensions: [
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature | KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      new BasicConstraintsExtension(true, undefined, true),
      new SubjectKeyIdentifierExtension(rootKeyId)
    ]
  })

  const issue = Effect.fnUntraced(function* (
    subject: string,
    extensions: ReadonlyArray<Extension>,
    validity: Validity | undefined
  ) {
    const keys = yield* generateKeys
    const leaf = yield* sign(rootKeys.privateKey, {
      subject,
      publicKey: keys.publicKey,
      validity: validity ?? (yield* validFor(2)),
      extensions
    })
    const pkcs8 = yield* Effect.promise(() => webcrypto.subtle.exportKey("pkcs8", keys.privateKey))
    return {
      leaf,
      certificatePem: leaf.toString(),
      privateKeyPem: Redacted.make(pem("PRIVATE KEY", new Uint8Array(pkcs8)), { label: "private key" })
    } satisfies Identity
  })

  const authority: Authority = {
    certificatePem: root.toString(),
    issueServer: (names, validity) =>
      issue(
        names[0],
        [
          new KeyUsagesExtension(SERVER_USAGE, true),
          new ExtendedKeyUsageExtension([SERVER_AUTH]),
          new AuthorityKeyIdentifierExtension(rootKeyId),
          new SubjectAlternativeNameExtension(
            // DNS names come before addresses, whatever the order they were given in.
            names
              .map((value) => ({ type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const), value }))
              .sort((a, b) => Number(a.type === "ip") - Number(b.type === "ip"))
          )
        ],
        validity
      ),
    issueClient: (validity) =>
      issue(
        ROOT_NAME,
        [new KeyUsagesExtension(CLIENT_USAGE, true), new ExtendedKeyUsageExtension([CLIENT_AUTH])],
        validity
      )
  }
  return authority
})

const generateKeys = Effect.promise(
  () => webcrypto.subtle.generateKey(ED25519, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>
)

/** The identifier of a key: the first 160 bits of its SHA-256 hash (RFC 7093 §2, method 1). */
const keyId = (key: webcrypto.CryptoKey) =>
  Effect.promise(async () => {
    const raw = await webcrypto.subtle.exportKey("raw", key)
    return createHash("sha256").update(new Uint8Array(raw)).digest("hex").slice(0, 40)
  })

const validFor = (years: number) =>
  Effect.map(Clock.currentTimeMillis, (now): Validity => {
    const notAfter = new Date(now)
    notAfter.setUTCFullYear(notAfter.getUTCFullYear() + years)
    return { notBefore: new Date(now - BACKDATED_MILLIS), notAfter }
  })

const sign = (
  signingKey: webcrypto.CryptoKey,
  fields: {
    readonly subject: string
    readonly publicKey: webcrypto.CryptoKey
    readonly validity: Validity
    readonly extensions: ReadonlyArray<Extension>
  }
) =>
  Effect.promise(async () => {
    const certificate = await X509CertificateGenerator.create(
      {
        serialNumber: randomBytes(16).toString("hex"),
        issuer: [{ CN: [ROOT_NAME] }],
        subject: [{ CN: [fields.subject] }],
        notBefore: fields.validity.notBefore,
        notAfter: fields.validity.notAfter,
        publicKey: fields.publicKey,
        signingKey,
        signingAlgorithm: ED25519,
        extensions: [...fields.extensions]
      },
      webcrypto as unknown as Crypto
    )
    return new NodeCertificate(new Uint8Array(certificate.rawData))
  })

const pem = (label: string, der: Uint8Array) =>
  `-----BEGIN ${label}-----\n${Buffer.from(der)
    .toString("base64")
    .replaceAll(/.{64}(?=.)/g, "$&\n")}\n-----END ${label}-----\n`

const ROOT_NAME = "connet"

const ED25519 = { name: "Ed25519" } as const

/** An hour: more than the clocks of hosts without time synchronisation are usually apart by. */
const BACKDATED_MILLIS = 3_600_000

const SERVER_USAGE = KeyUsageFlags.digitalSignature | KeyUsageFlags.nonRepudiation | KeyUsageFlags.keyEncipherment
const CLIENT_USAGE = KeyUsageFlags.digitalSignature | KeyUsageFlags.nonRepudiation | KeyUsageFlags.keyAgreement

/** Extended key usages (RFC 5280 §4.2.1.12). */
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
