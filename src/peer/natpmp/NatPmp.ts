/**
 * Messages of NAT-PMP (RFC 6886): bytes in, values out.
 *
 * Answers are read strictly. What is not one, byte by byte, is nothing: anybody can send us a datagram.
 */

/** Where routers take requests: UDP. */
export const GATEWAY_PORT = 5351

/** What is forwarded. */
export type Protocol = "udp" | "tcp"

/** Forward a port to ours of this number. A lifetime of 0 ends that. */
export interface MapRequest {
  readonly _tag: "Map"
  readonly protocol: Protocol
  readonly internalPort: number
  /** 0: any. */
  readonly externalPort: number
  readonly lifetimeSeconds: number
}

/** `Address`: which one does the router have outside? */
export type Request = { readonly _tag: "Address" } | MapRequest

export type Answer =
  /** `epochSeconds`: since the router lost what it knew, as it says. */
  | { readonly _tag: "Address"; readonly epochSeconds: number; readonly host: string }
  | {
      readonly _tag: "Mapped"
      readonly epochSeconds: number
      readonly protocol: Protocol
      readonly internalPort: number
      readonly externalPort: number
      readonly lifetimeSeconds: number
    }
  /** Says which question it answers; nothing else of it means anything. */
  | { readonly _tag: "Refused"; readonly question: Question; readonly code: number }

/** What can be asked: the address, or one of the protocols. */
export type Question = "address" | Protocol

const VERSION = 0
const QUESTIONS: ReadonlyArray<Question> = ["address", "udp", "tcp"]
const ANSWERS = 128
const HEADER_BYTES = 4
const ADDRESS_BYTES = 12
const MAP_REQUEST_BYTES = 12
const MAPPED_BYTES = 16

export const encode = (request: Request): Uint8Array => {
  if (request._tag === "Address") return Uint8Array.of(VERSION, 0)
  const bytes = Buffer.alloc(MAP_REQUEST_BYTES)
  bytes.writeUInt8(QUESTIONS.indexOf(request.protocol), 1)
  bytes.writeUInt16BE(request.internalPort, 4)
  bytes.writeUInt16BE(request.externalPort, 6)
  bytes.writeUInt32BE(request.lifetimeSeconds, 8)
  return bytes
}

/** The answer in a datagram of the router; undefined when it holds none. */
export const decode = (datagram: Uint8Array): Answer | undefined => {
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.byteLength)
  if (bytes.length < HEADER_BYTES || bytes[0] !== VERSION) return undefined
  const question = QUESTIONS[bytes[1]! - ANSWERS]
  if (question === undefined) return undefined
  const code = bytes.readUInt16BE(2)
  // Some routers send no more than the header, others the whole request (RFC 6886 §3.5).
  if (code !== 0) return bytes.length <= MAPPED_BYTES ? { _tag: "Refused", question, code } : undefined
  if (bytes.length !== (question === "address" ? ADDRESS_BYTES : MAPPED_BYTES)) return undefined
  const epochSeconds = bytes.readUInt32BE(4)
  if (question === "address") return { _tag: "Address", epochSeconds, host: bytes.subarray(8).join(".") }
  return {
    _tag: "Mapped",
    epochSeconds,
    protocol: question,
    internalPort: bytes.readUInt16BE(8),
    externalPort: bytes.readUInt16BE(10),
    lifetimeSeconds: bytes.readUInt32BE(12)
  }
}

/** What a refusal means, by its code. */
export const refusal = (code: number): string => REFUSALS[code] ?? `the router refuses with code ${code}`

const REFUSALS: Readonly<Record<number, string>> = {
  1: "the router speaks another version of the protocol",
  2: "the router does not allow it; switch NAT-PMP on in its settings",
  3: "the router has no address outside",
  4: "the router has no room for another mapping",
  5: "the router cannot forward this protocol"
}
