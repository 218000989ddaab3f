import { blake2s } from "@noble/hashes/blake2.js"
import * as base32hex from "../domain/base32hex.ts"
import { onceFor } from "../internal/onceFor.ts"

/**
 * What identifies a certificate wherever one is named by text: base32hex of the BLAKE2s-256 hash of its DER, which must not
 * change: the same array is hashed once.
 */
export const certificateKey = onceFor((der: Uint8Array): string => base32hex.encode(blake2s(der)))
