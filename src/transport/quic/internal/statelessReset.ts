/**
 * What is answered to a packet of a connection that nobody knows here, because it was that of a process before this one
 * (RFC 9000 §10.3). The peer was given the token of each connection id while the connection lived, and whoever has the key
 * can still say it afterwards.
 */
import { createHmac, randomBytes } from "node:crypto"
import { MAX_RESET_BYTES, MIN_RESET_BYTES } from "./limits.ts"

const TOKEN_BYTES = 16
const SHORT_HEADER = 0x40

/** The token of a connection id of ours, as upstream makes it. */
export const resetToken = (key: Uint8Array, id: Uint8Array): Buffer =>
  createHmac("sha256", key).update(id).digest().subarray(0, TOKEN_BYTES)

/** The same as quiche takes it: a number of 128 bits. */
export const resetTokenNumber = (key: Uint8Array, id: Uint8Array): bigint =>
  BigInt(`0x${resetToken(key, id).toString("hex")}`)

/**
 * Looks like any packet to others. Always shorter than the packet that it answers, so that two ends which do not know each
 * other fall silent; undefined when that leaves too little.
 */
export const statelessReset = (packetBytes: number, token: Uint8Array): Buffer | undefined => {
  const length = Math.min(packetBytes - 1, MAX_RESET_BYTES)
  if (length < MIN_RESET_BYTES) return undefined
  const reset = randomBytes(length)
  reset[0] = SHORT_HEADER | (reset[0]! & 0x3f)
  reset.set(token, length - TOKEN_BYTES)
  return reset
}
