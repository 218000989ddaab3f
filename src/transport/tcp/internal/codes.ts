/**
 * Codes of the application within HTTP/2's 32 bits (RFC 9113 §7), apart from those of HTTP/2 and its libraries: the upper
 * byte is a `C`. The reason of a close is the debug data of a GOAWAY with such a code.
 */
import { CLOSE_TEXT_BYTES } from "./limits.ts"

const BASE = 0x43_00_00_00
const MASK = 0x00_ff_ff_ff

export const toWire = (code: number): number => BASE + (code & MASK)

/** The application's code, or undefined when this is one of HTTP/2. */
export const fromWire = (wire: number): number | undefined => ((wire & ~MASK) >>> 0 === BASE ? wire & MASK : undefined)

export const closeText = (text: string): Buffer => Buffer.from(text).subarray(0, CLOSE_TEXT_BYTES)
