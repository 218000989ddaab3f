import { isIP } from "node:net"

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
