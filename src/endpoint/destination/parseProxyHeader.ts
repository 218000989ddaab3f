/**
 * The header of the PROXY protocol, version 2, as a destination reads it that serves requests itself: what begins with the
 * signature must be a header to its last byte, what does not begin with it is none. No request of HTTP begins like it.
 */
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { CLIENT_SSL, LOCAL, PROXY, SIGNATURE, SOCKET_PATH_BYTES, SSL } from "../source/proxyHeader.ts"
import type { UserFacts } from "../source/User.ts"

export type ParsedHeader =
  | { readonly _tag: "Absent" }
  /** More bytes are needed to tell. */
  | { readonly _tag: "Partial" }
  | { readonly _tag: "Malformed"; readonly why: string }
  | HeaderFound

/** Whom the header tells of, and how many bytes it has. */
export interface HeaderFound extends Omit<UserFacts, "tls"> {
  readonly _tag: "Found"
  readonly length: number
  /** Whether the user speaks TLS with the source. */
  readonly secure: boolean
}

/** Reads the header at the beginning of a stream. */
export const parseProxyHeader = (bytes: Buffer): ParsedHeader => {
  const beginning = bytes.subarray(0, SIGNATURE.length)
  if (!beginning.equals(SIGNATURE.subarray(0, beginning.length))) return { _tag: "Absent" }
  if (bytes.length < FIXED_BYTES) return { _tag: "Partial" }
  const [command, family] = [bytes[12]!, bytes[13]!]
  if (command !== LOCAL && command !== PROXY) return malformed("its version or its command is unknown")
  const bodyBytes = bytes.readUInt16BE(14)
  if (bodyBytes > MAX_BODY_BYTES) return malformed("it is too long")
  const length = FIXED_BYTES + bodyBytes
  if (bytes.length < length) return { _tag: "Partial" }
  // A connection of the proxy itself: what else it says is to be left alone.
  if (command === LOCAL) return { _tag: "Found", length, source: UNKNOWN, destination: UNKNOWN, secure: false }
  const body = bytes.subarray(FIXED_BYTES, length)
  const addresses = addressesOf(family, body)
  if (addresses === undefined) return malformed("its addresses are cut short, or of an unknown family")
  const secure = speaksTls(body.subarray(addresses.length))
  if (secure === undefined) return malformed("what follows its addresses is cut short")
  const { source, destination } = addresses
  return { _tag: "Found", length, source, destination, secure }
}

const malformed = (why: string): ParsedHeader => ({ _tag: "Malformed", why })

/** Signature, version and command, family, length of the rest. */
const FIXED_BYTES = 16

/** Addresses, and the longest that sources tell of TLS, with room to spare. */
const MAX_BODY_BYTES = 8_192

const UNKNOWN = { _tag: "unknown" } as const

type Addresses = Omit<UserFacts, "tls"> & { readonly length: number }

const addressesOf = (family: number, body: Buffer): Addresses | undefined => {
  if (family === 0x00) return { source: UNKNOWN, destination: UNKNOWN, length: 0 }
  const transport = family & 0x0f
  if (transport !== 1 && transport !== 2) return undefined
  const bytes = BYTES[family >> 4]
  if (bytes === undefined) return undefined
  if (bytes === SOCKET_PATH_BYTES) {
    if (body.length < 2 * bytes) return undefined
    const path = (at: number) =>
      ({ _tag: "unix", path: body.toString("utf8", at, at + bytes).replace(/\0.*$/s, "") }) as const
    return { source: path(0), destination: path(bytes), length: 2 * bytes }
  }
  const length = 2 * bytes + 4
  if (body.length < length) return undefined
  const end = (which: 0 | 1) =>
    ({
      _tag: transport === 1 ? "tcp" : "udp",
      host: SocketAddress.fromBytes(body.subarray(which * bytes, (which + 1) * bytes))!,
      port: body.readUInt16BE(2 * bytes + 2 * which)
    }) as const
  return { source: end(0), destination: end(1), length }
}

/** Bytes of an address, by family: IPv4, IPv6, the path of a Unix socket. */
const BYTES: Readonly<Record<number, number>> = { 1: 4, 2: 16, 3: SOCKET_PATH_BYTES }

/** Whether one of the extras tells of TLS; undefined when one is not whole. */
const speaksTls = (extras: Buffer): boolean | undefined => {
  let secure = false
  for (let at = 0; at < extras.length; ) {
    if (extras.length < at + 3) return undefined
    const [type, from] = [extras[at]!, at + 3]
    at = from + extras.readUInt16BE(at + 1)
    if (at > extras.length) return undefined
    if (type === SSL) secure = from < at && (extras[from]! & CLIENT_SSL) !== 0
  }
  return secure
}
