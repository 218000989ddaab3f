import { X509Certificate } from "node:crypto"
import { Clock, Effect, Redacted, Schema } from "effect"
import { readState, writeState } from "../internal/stateFile.ts"
import { makeAuthority } from "./Authority.ts"
import { CertsError, OwnIdentityUnusable } from "./CertsError.ts"
import type { Identity } from "./Identity.ts"

const Kept = Schema.Struct({ certificate: Schema.String, privateKey: Schema.String })

/** The SHA-256 fingerprint of a certificate, in 64 lower-case hexadecimal letters. */
export const fingerprint = ({ leaf }: Identity): string => leaf.fingerprint256.replaceAll(":", "").toLowerCase()

/**
 * The identity that this file holds, made there when it is not there yet. It is known by its fingerprint alone, and so
 * valid for a hundred years: whoever wants another one removes the file.
 */
export const ownIdentity = Effect.fnUntraced(function* (path: string) {
  const unusable = (error: unknown) =>
    new CertsError({ reason: new OwnIdentityUnusable({ file: path, detail: (error as Error).message }) })
  const state = yield* Effect.tryPromise({ try: () => readState(path), catch: unusable })
  if (state !== undefined) {
    const kept = yield* Schema.decodeUnknownEffect(Kept)(state).pipe(Effect.mapError(unusable))
    const leaf = yield* Effect.try({ try: () => new X509Certificate(kept.certificate), catch: unusable })
    return { leaf, certificatePem: kept.certificate, privateKeyPem: redacted(kept.privateKey) } satisfies Identity
  }
  const now = new Date(yield* Clock.currentTimeMillis)
  const notAfter = new Date(now)
  notAfter.setUTCFullYear(now.getUTCFullYear() + 100)
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["connet"], { notBefore: new Date(0), notAfter })
  const kept = { certificate: identity.certificatePem, privateKey: Redacted.value(identity.privateKeyPem) }
  yield* Effect.tryPromise({ try: () => writeState(path, kept), catch: unusable })
  return identity
})

const redacted = (privateKey: string) => Redacted.make(privateKey, { label: "private key" })
