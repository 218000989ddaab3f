import { isIP, SocketAddress as NodeSocketAddress } from "node:net"

/**
 * An IP address literal and a port. IPv4-mapped IPv6 addresses are always unmapped (`::ffff:192.0.2.1` is `192.0.2.1`),
 * so that two equal addresses have equal text.
 */
export interface SocketAddress {
  readonly host: string
  /** 0 to 65535; 0 only where a port is yet to be chosen by the system. */
  readonly port: number
}

const MAPPED_DOTTED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i
const MAPPED_HEX = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i

/** The address without its IPv4-in-IPv6 wrapping, if it has one. Anything else is returned as it is. */
export const unmapped = (host: string): string => {
  if (!host.startsWith("::")) return host
  const dotted = MAPPED_DOTTED.exec(host)
  if (dotted !== null && isIP(dotted[1]!) === 4) return dotted[1]!
  const hex = MAPPED_HEX.exec(host)
  if (hex === null) return host
  const [high, low] = [Number.parseInt(hex[1]!, 16), Number.parseInt(hex[2]!, 16)]
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`. */
export const format = (address: SocketAddress): string =>
  address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`

export const equals = (a: SocketAddress, b: SocketAddress): boolean => a.port === b.port && a.host === b.host

/** The 4 or 16 bytes of an IP literal in network order, without its zone; undefined when it is none. */
export const toBytes = (host: string): Uint8Array | undefined => {
  const literal = host.split("%")[0]!
  const family = isIP(literal)
  if (family === 4) return Uint8Array.from(literal.split("."), Number)
  if (family !== 6) return undefined
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(literal)
  const hex = (high: string, low: string) => ((Number(high) << 8) | Number(low)).toString(16)
  const groups = dotted === null ? literal : `${dotted[1]}${hex(dotted[2]!, dotted[3]!)}:${hex(dotted[4]!, dotted[5]!)}`
  const [head, tail] = groups.split("::").map((part) => (part === "" ? [] : part.split(":")))
  const zeros = Array.from({ length: 8 - head!.length - (tail?.length ?? 0) }, () => "0")
  const bytes = Buffer.alloc(16)
  for (const [at, group] of [...head!, ...zeros, ...(tail ?? [])].entries()) {
    bytes.writeUInt16BE(Number.parseInt(group, 16), at * 2)
  }
  return Uint8Array.from(bytes)
}

/** The literal of 4 or 16 bytes in its canonical form (RFC 5952), v4-mapped ones unmapped; undefined for other lengths. */
export const fromBytes = (bytes: Uint8Array): string | undefined => {
  if (bytes.length === 4) return bytes.join(".")
  if (bytes.length !== 16) return undefined
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2]! << 8) | bytes[at * 2 + 1]!).toString(16))
  const address = new NodeSocketAddress({ address: groups.join(":"), family: "ipv6" }).address
  return unmapped(address)
}
