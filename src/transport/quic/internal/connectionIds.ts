/** The connection ids of a packet, read without anything else of it. */
import { CONNECTION_ID_BYTES } from "./limits.ts"
import { MAX_CONNECTION_ID_BYTES } from "./native.ts"

/** The bit of the first byte that tells long headers from short ones (RFC 8999 §5). */
export const LONG_HEADER = 0x80

/** Ids as map keys: one character a byte. */
export const idText = (id: Uint8Array): string =>
  Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString("latin1")

/** The id that a packet is addressed to (RFC 8999 §5), or undefined when it has none. */
export const destinationId = (packet: Buffer): string | undefined => {
  if ((packet[0]! & LONG_HEADER) === 0) {
    return packet.length > CONNECTION_ID_BYTES ? packet.toString("latin1", 1, 1 + CONNECTION_ID_BYTES) : undefined
  }
  const length = packet[5] ?? 0
  const end = 6 + length
  return length === 0 || length > MAX_CONNECTION_ID_BYTES || packet.length < end
    ? undefined
    : packet.toString("latin1", 6, end)
}

/** The id that a packet with a long header comes from (RFC 8999 §5.1), or undefined when there is none within it. */
export const sourceId = (packet: Buffer): Buffer | undefined => {
  const start = 7 + packet[5]!
  const length = packet[start - 1] ?? 0
  return length > MAX_CONNECTION_ID_BYTES || packet.length < start + length
    ? undefined
    : packet.subarray(start, start + length)
}
