/**
 * The header of the PROXY protocol, which tells a service whose connection it is: written before the user's first byte.
 * Version 1 is a line of text, version 2 is binary and has room for what TLS told.
 *
 * The family is that of the source, IPv4 within IPv6 counting as IPv4, as upstream has it. A source of IPv4 that reached an
 * end of IPv6 is written as IPv6, where upstream gives the connection up.
 */
import * as SocketAddress from "../../domain/SocketAddress.ts"
import type { TlsFacts, UserAddress, UserFacts } from "./User.ts"

/** The bytes for a user, in the version that the destination asks for. */
export const proxyHeader = (version: "v1" | "v2", { source, destination, tls }: UserFacts): Buffer => {
  const addresses = addressesOf(source, destination)
  return version === "v1" ? Buffer.from(line(addresses)) : binary(addresses, tls === undefined ? [] : tlvs(tls))
}

interface IpAddresses {
  readonly _tag: "tcp" | "udp"
  readonly family: 4 | 6
  readonly source: SocketAddress.SocketAddress
  readonly destination: SocketAddress.SocketAddress
}

type Addresses =
  | IpAddresses
  | { readonly _tag: "unix"; readonly source: string; readonly destination: string }
  | { readonly _tag: "unknown" }

const addressesOf = (source: UserAddress, destination: UserAddress): Addresses => {
  if (source._tag === "unix" && destination._tag === "unix") {
    return { _tag: "unix", source: source.path, destination: destination.path }
  }
  if (source._tag !== "tcp" && source._tag !== "udp") return { _tag: "unknown" }
  if (destination._tag !== source._tag) return { _tag: "unknown" }
  const ends = { source: plain(source), destination: plain(destination) }
  const lengths = [ends.source, ends.destination].map(({ host }) => SocketAddress.toBytes(host)?.length)
  if (lengths.includes(undefined)) return { _tag: "unknown" }
  return { _tag: source._tag, family: lengths.includes(16) ? 6 : 4, ...ends }
}

/** Neither wrapped in IPv6 nor with a zone, which means nothing elsewhere. */
const plain = ({ host, port }: SocketAddress.SocketAddress) => ({
  host: SocketAddress.unmapped(host).split("%")[0]!,
  port
})

const line = (addresses: Addresses): string => {
  if (addresses._tag !== "tcp") return "PROXY UNKNOWN\r\n"
  const { family, source, destination } = addresses
  // An IPv4 source beside IPv6 must say so. A destination stands as upstream writes it.
  const from = family === 6 && !source.host.includes(":") ? `::ffff:${source.host}` : source.host
  return `PROXY TCP${family} ${from} ${destination.host} ${source.port} ${destination.port}\r\n`
}

/** What version 2 begins with. */
export const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1")

/** Version 2 in the upper half, and in the lower one that the connection is ours. */
export const LOCAL = 0x20
/** The same, and that it is somebody's. */
export const PROXY = 0x21

const binary = (addresses: Addresses, extras: ReadonlyArray<Buffer>): Buffer => {
  const body = Buffer.concat([addressBlock(addresses), ...extras])
  // Who has no address but came over TLS is somebody all the same.
  const command = addresses._tag === "unknown" && extras.length === 0 ? LOCAL : PROXY
  return Buffer.concat([SIGNATURE, Buffer.of(command, familyByte(addresses)), uint16(body.length), body])
}

/** Address family in the upper half, transport in the lower one. */
const familyByte = (addresses: Addresses): number => {
  if (addresses._tag === "unknown") return 0x00
  if (addresses._tag === "unix") return 0x31
  return (addresses.family === 4 ? 0x10 : 0x20) | (addresses._tag === "tcp" ? 1 : 2)
}

const addressBlock = (addresses: Addresses): Buffer => {
  if (addresses._tag === "unknown") return Buffer.alloc(0)
  if (addresses._tag === "unix") return Buffer.concat([socketPath(addresses.source), socketPath(addresses.destination)])
  const { family, source, destination } = addresses
  const ports = [uint16(source.port), uint16(destination.port)]
  return Buffer.concat([ipBytes(source.host, family), ipBytes(destination.host, family), ...ports])
}

const MAPPED = Buffer.from("00000000000000000000ffff", "hex")

const ipBytes = (host: string, family: 4 | 6): Buffer => {
  const bytes = Buffer.from(SocketAddress.toBytes(host)!)
  return family === 6 && bytes.length === 4 ? Buffer.concat([MAPPED, bytes]) : bytes
}

/** The size of `sun_path` on Linux, whatever the system is. */
export const SOCKET_PATH_BYTES = 108

const socketPath = (path: string): Buffer => {
  const bytes = Buffer.alloc(SOCKET_PATH_BYTES)
  bytes.write(path)
  return bytes
}

const uint16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

const tlv = (type: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.of(type), uint16(bytes.length), bytes])

/** Longer ones are the user's invention, and half of one could pass for another one. */
const MAX_TEXT_BYTES = 1_024

const textTlv = (type: number, text: string | undefined): ReadonlyArray<Buffer> => {
  const bytes = Buffer.from(text ?? "")
  return text === undefined || bytes.length > MAX_TEXT_BYTES ? [] : [tlv(type, bytes)]
}

const ALPN = 0x01
const AUTHORITY = 0x02
/** The type of what is told of TLS. */
export const SSL = 0x20
const SSL_VERSION = 0x21
const SSL_CN = 0x22
const SSL_CIPHER = 0x23

/** The user came over TLS. */
export const CLIENT_SSL = 0x01
/** He showed a certificate on this connection, or on an earlier one of the session. */
const CLIENT_CERT_CONN = 0x02
const CLIENT_CERT_SESS = 0x04

const tlvs = ({ version, cipher, serverName, protocol, certificate }: TlsFacts): ReadonlyArray<Buffer> => {
  const shown =
    certificate === undefined ? 0 : CLIENT_CERT_SESS | (certificate.shown === "connection" ? CLIENT_CERT_CONN : 0)
  const ssl = [
    // 32 bits: 0 only for a certificate that was verified.
    Buffer.of(CLIENT_SSL | shown, 0, 0, 0, certificate?.verified ? 0 : 1),
    ...textTlv(SSL_VERSION, version),
    ...textTlv(SSL_CN, certificate?.commonName),
    ...textTlv(SSL_CIPHER, cipher)
  ]
  return [...textTlv(ALPN, protocol), ...textTlv(AUTHORITY, serverName), tlv(SSL, Buffer.concat(ssl))]
}
