import { blake2s } from "@noble/hashes/blake2.js"
import * as base32hex from "../domain/base32hex.ts"

/** What identifies a certificate wherever one is named by text: base32hex of the BLAKE2s-256 hash of its DER. */
export const certificateKey = (der: Uint8Array): string => base32hex.encode(blake2s(der))
