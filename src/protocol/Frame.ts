/** A message on a stream: its length as a big-endian unsigned number of 4 or 8 bytes, then its bytes. */
import { Result } from "effect"
import type { FrameWidth } from "./Alpn.ts"
import { FrameTooLarge } from "./ProtocolError.ts"

/** Longest message from somebody who has not authenticated yet. */
export const MAX_STRANGER_MESSAGE_BYTES = 64 * 1024

/** Longest message after that. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024

/** The message with its length before it. */
export const encodeFrame = (message: Uint8Array, width: FrameWidth): Buffer => {
  const frame = Buffer.alloc(width + message.length)
  frame.writeUInt32BE(message.length, width - 4)
  frame.set(message, width)
  return frame
}

/** The length that a prefix announces, if it is within the limit. */
export const decodeLength = (prefix: Buffer, limit: number): Result.Result<number, FrameTooLarge> => {
  const length = prefix.length === 8 ? prefix.readBigUInt64BE() : BigInt(prefix.readUInt32BE())
  return length > BigInt(limit)
    ? Result.fail(new FrameTooLarge({ length: String(length), limit }))
    : Result.succeed(Number(length))
}
