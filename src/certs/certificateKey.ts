import { blake2s } from "@noble/hashes/blake2.js"
import * as base32hex from "../domain/base32hex.ts"

const keys = new WeakMap<Uint8Array, string>()

/**
 * What identifies a certificate wherever one is named by text: base32hex of the BLAKE2s-256 hash of its DER, which must not
 * change: the same array is hashed once.
 */
export const certificateKey = (der: Uint8Array): string => {
  const known = keys.get(der)
  if (known !== undefined) return known
  const key = base32hex.encode(blake2s(der))
  keys.set(der, key)
  return key
}
