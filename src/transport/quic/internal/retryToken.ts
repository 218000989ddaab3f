/**
 * Address validation before any state is kept (RFC 9000 §8.1.2): the token that a Retry packet carries and that the
 * newcomer sends back proves that it receives at the address it sends from.
 */
import { createHmac, timingSafeEqual } from "node:crypto"

const MAC_BYTES = 16
const TIME_BYTES = 6

/** A token may come back this late, in milliseconds. */
const LIFETIME_MILLIS = 10_000

const mac = (key: Uint8Array, address: string, body: Uint8Array) =>
  createHmac("sha256", key).update(address).update("\0").update(body).digest().subarray(0, MAC_BYTES)

/** Seals the connection id that the newcomer first asked for; `address` is its `host:port`. */
export const issueRetryToken = (key: Uint8Array, address: string, originalId: Uint8Array, now: number): Buffer => {
  const body = Buffer.alloc(TIME_BYTES + originalId.length)
  body.writeUIntBE(now, 0, TIME_BYTES)
  body.set(originalId, TIME_BYTES)
  return Buffer.concat([mac(key, address, body), body])
}

/** The connection id inside a token that we made for this address a moment ago, else undefined. */
export const openRetryToken = (
  key: Uint8Array,
  address: string,
  token: Uint8Array,
  now: number
): Buffer | undefined => {
  if (token.length < MAC_BYTES + TIME_BYTES) return undefined
  const body = Buffer.from(token.subarray(MAC_BYTES))
  if (!timingSafeEqual(mac(key, address, body), token.subarray(0, MAC_BYTES))) return undefined
  const age = now - body.readUIntBE(0, TIME_BYTES)
  return age < 0 || age > LIFETIME_MILLIS ? undefined : body.subarray(TIME_BYTES)
}
