/**
 * What a client gets to come back as the same one: its id in a NaCl secretbox (XSalsa20-Poly1305), behind the random nonce
 * of 24 bytes. Only the server that made it can read it.
 */
import { randomBytes } from "node:crypto"
import { xsalsa20poly1305 } from "@noble/ciphers/salsa.js"

const NONCE_BYTES = 24

/** @param key 32 bytes */
export const sealReconnectToken = (key: Uint8Array, id: string, nonce: Uint8Array = randomBytes(NONCE_BYTES)) =>
  Buffer.concat([nonce, xsalsa20poly1305(key, nonce).encrypt(Buffer.from(id))])

/** The id inside, or undefined when the token was not made with this key. */
export const openReconnectToken = (key: Uint8Array, token: Uint8Array): string | undefined => {
  if (token.length <= NONCE_BYTES) return undefined
  try {
    const id = xsalsa20poly1305(key, token.subarray(0, NONCE_BYTES)).decrypt(token.subarray(NONCE_BYTES))
    return Buffer.from(id).toString()
  } catch {
    return undefined
  }
}
