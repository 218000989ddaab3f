/**
 * `dhxcp`: X25519, and from the shared secret two keys for ChaCha20-Poly1305, as upstream has it. Each side signs its
 * public key and the time with the key of its server certificate, which the other one knows from control. Pure.
 */
import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify
} from "node:crypto"
import { blake2s } from "@noble/hashes/blake2.js"
import { hkdf } from "@noble/hashes/hkdf.js"
import { Result } from "effect"
import { readCertificate } from "../../certs/readCertificate.ts"
import { dnsNames } from "../../transport/Trust.ts"
import { ClocksApart, EncryptionError, NotBelieved } from "./EncryptionError.ts"

/** What one side sends. */
export interface Configuration {
  /** First DNS name of the sender's server certificate. */
  readonly clientName: string
  /** The public key (32 bytes), then the nanoseconds since 1970 (8 bytes, big-endian). */
  readonly keyTime: Uint8Array
  /** Ed25519, of `keyTime`. */
  readonly signature: Uint8Array
}

/** A key that is made for one stream. */
export interface OwnKey {
  readonly configuration: Configuration
  readonly privateKey: KeyObject
}

export interface StreamKeys {
  readonly sourceToDestination: Uint8Array
  readonly destinationToSource: Uint8Array
}

/** Which end of a stream somebody is. */
export type Side = "source" | "destination"

/** What one end sends and receives with. */
export const directions = ({ sourceToDestination, destinationToSource }: StreamKeys, side: Side) =>
  side === "source"
    ? { send: sourceToDestination, receive: destinationToSource }
    : { send: destinationToSource, receive: sourceToDestination }

const KEY_BYTES = 32
const KEY_TIME_BYTES = KEY_BYTES + 8
const MAX_APART_NANOS = 300_000_000_000n
const NANOS_PER_MILLI = 1_000_000n

/** What stands before a raw X25519 key in its usual encodings (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex")
const SPKI_PREFIX = Buffer.from("302a300506032b656e032100", "hex")

const HASH_KEY = Buffer.from("connet-hash")

/** BLAKE2s-256 with upstream's key. */
export const keyedHash = Object.assign((message: Uint8Array) => blake2s(message, { key: HASH_KEY }), {
  outputLen: 32,
  blockLen: 64,
  canXOF: false,
  create: () => blake2s.create({ key: HASH_KEY })
})

/** HKDF (RFC 5869) over the keyed hash. */
export const derive = (secret: Uint8Array, salt: Uint8Array, length: number, info: Uint8Array = new Uint8Array()) =>
  hkdf(keyedHash, secret, salt, info, length)

const padded = (label: string): Uint8Array => {
  const bytes = new Uint8Array(32)
  bytes.set(Buffer.from(label))
  return bytes
}
const CHAINING = padded("connet-chaining")
const HASHING = padded("connet-hashing")

const rawPublic = (key: KeyObject): Buffer => key.export({ format: "der", type: "spki" }).subarray(SPKI_PREFIX.length)

/**
 * @param now milliseconds since 1970
 * @param secret 32 bytes, random unless given
 */
export const makeOwnKey = (
  options: { readonly clientName: string; readonly signingKeyPem: string; readonly nowNanos: bigint },
  secret?: Uint8Array
): OwnKey => {
  const { clientName, signingKeyPem, nowNanos } = options
  const privateKey =
    secret === undefined
      ? generateKeyPairSync("x25519").privateKey
      : createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, secret]), format: "der", type: "pkcs8" })
  const keyTime = Buffer.alloc(KEY_TIME_BYTES)
  keyTime.set(rawPublic(createPublicKey(privateKey)))
  keyTime.writeBigUInt64BE(nowNanos, KEY_BYTES)
  return { configuration: { clientName, keyTime, signature: sign(null, keyTime, signingKeyPem) }, privateKey }
}

/** The time as signatures have it. */
export const nanos = (millis: number): bigint => BigInt(Math.floor(millis)) * NANOS_PER_MILLI

const refused = (detail: string) => Result.fail(new EncryptionError({ reason: new NotBelieved({ detail }) }))

/** The one among `certificates` (DER) whose first DNS name is this. One that cannot be read hides no other. */
export const certificateOf = (
  clientName: string,
  certificates: ReadonlyArray<Uint8Array>
): Result.Result<Uint8Array, EncryptionError> => {
  const named = certificates.filter((der) => {
    try {
      return dnsNames(readCertificate(der))[0] === clientName
    } catch {
      return false
    }
  })
  const [one, another] = named
  if (one === undefined) return refused(`no peer of this endpoint has the name ${clientName}`)
  return another === undefined ? Result.succeed(one) : refused(`several peers have the name ${clientName}`)
}

/** The public key of the other side, when the certificate's owner has signed it in the last five minutes. */
export const checkConfiguration = (
  { keyTime, signature }: Configuration,
  certificate: Uint8Array,
  nowNanos: bigint
): Result.Result<Uint8Array, EncryptionError> => {
  if (keyTime.length !== KEY_TIME_BYTES) return refused(`its key has ${keyTime.length} bytes, not ${KEY_TIME_BYTES}`)
  if (!signedBy(certificate, keyTime, signature)) return refused("the signature of its key is wrong")
  const apart = Buffer.from(keyTime).readBigInt64BE(KEY_BYTES) - nowNanos
  const distance = apart < 0n ? -apart : apart
  if (distance > MAX_APART_NANOS) {
    const seconds = Number(distance / 1_000_000_000n)
    return Result.fail(new EncryptionError({ reason: new ClocksApart({ seconds }) }))
  }
  return Result.succeed(keyTime.subarray(0, KEY_BYTES))
}

const signedBy = (certificate: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
  try {
    const { publicKey } = readCertificate(certificate)
    return publicKey.asymmetricKeyType === "ed25519" && verify(null, message, publicKey, signature)
  } catch {
    return false
  }
}

/** The keys of a stream. A public key that gives everybody the same secret (RFC 7748 §6.1) is refused. */
export const streamKeys = (
  own: OwnKey,
  theirPublic: Uint8Array,
  side: Side
): Result.Result<StreamKeys, EncryptionError> => {
  let secret: Uint8Array
  try {
    const key = Buffer.concat([SPKI_PREFIX, theirPublic])
    const publicKey = createPublicKey({ key, format: "der", type: "spki" })
    secret = diffieHellman({ privateKey: own.privateKey, publicKey })
  } catch {
    return refused("its key is not usable")
  }
  const ownPublic = own.configuration.keyTime.subarray(0, KEY_BYTES)
  const [source, destination] = side === "source" ? [ownPublic, theirPublic] : [theirPublic, ownPublic]
  const transcript = keyedHash(Buffer.concat([keyedHash(Buffer.concat([HASHING, source])), destination]))
  const chain = derive(secret, CHAINING, 32)
  const keys = derive(transcript, chain, 64)
  return Result.succeed({ sourceToDestination: keys.subarray(0, 32), destinationToSource: keys.subarray(32) })
}
