/**
 * What only the holder of a key can read or have made: XSalsa20-Poly1305 behind the random nonce of 24 bytes, as NaCl's
 * secretbox has it; NaCl's box is the same with a key that two sides share.
 */
import { createPrivateKey, createPublicKey, diffieHellman, generateKeyPairSync, randomBytes } from "node:crypto"
import { hsalsa, xsalsa20poly1305 } from "@noble/ciphers/salsa.js"

const NONCE_BYTES = 24
const KEY_BYTES = 32

/** @param key 32 bytes */
export const seal = (key: Uint8Array, plaintext: Uint8Array, nonce: Uint8Array = randomBytes(NONCE_BYTES)): Buffer =>
  Buffer.concat([nonce, xsalsa20poly1305(key, nonce).encrypt(plaintext)])

/** What was sealed with this key, or undefined when the blob was not. */
export const unseal = (key: Uint8Array, blob: Uint8Array): Uint8Array | undefined => {
  if (blob.length <= NONCE_BYTES) return undefined
  try {
    return xsalsa20poly1305(key, blob.subarray(0, NONCE_BYTES)).decrypt(blob.subarray(NONCE_BYTES))
  } catch {
    return undefined
  }
}

/** One side of a box, made for one connection. */
export interface BoxKey {
  /** 32 bytes (X25519, RFC 7748). */
  readonly publicKey: Uint8Array
  /** The key that is shared with the owner of `publicKey`; undefined when that is no usable key. */
  readonly sharedWith: (publicKey: Uint8Array) => Uint8Array | undefined
}

/** @param secret 32 bytes, random unless given */
export const makeBoxKey = (secret?: Uint8Array): BoxKey => {
  const privateKey =
    secret === undefined
      ? generateKeyPairSync("x25519").privateKey
      : createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, secret]), format: "der", type: "pkcs8" })
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" })
  return {
    publicKey: spki.subarray(SPKI_PREFIX.length),
    sharedWith: (publicKey) => {
      if (publicKey.length !== KEY_BYTES) return undefined
      try {
        const key = Buffer.concat([SPKI_PREFIX, publicKey])
        const theirs = createPublicKey({ key, format: "der", type: "spki" })
        return hashed(diffieHellman({ privateKey, publicKey: theirs }))
      } catch {
        // One of the points that give the same key to everybody.
        return undefined
      }
    }
  }
}

/** What stands before a raw X25519 key in its usual encodings (RFC 8410). */
const PKCS8_PREFIX = Buffer.from("302e020100300506032b656e04220420", "hex")
const SPKI_PREFIX = Buffer.from("302a300506032b656e032100", "hex")

/** HSalsa20 of the shared point, with no input (NaCl's `beforenm`). */
const hashed = (point: Uint8Array): Uint8Array => {
  const out = new Uint32Array(8)
  hsalsa(words(Buffer.from("expand 32-byte k")), words(point), new Uint32Array(4), out)
  return new Uint8Array(out.buffer)
}

/** A copy, as little-endian words. */
const words = (bytes: Uint8Array): Uint32Array => new Uint32Array(Uint8Array.from(bytes).buffer)
