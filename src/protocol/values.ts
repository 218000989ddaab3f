/** Schemas of the values that several messages share, and how they stand in generated messages. */
import { X509Certificate } from "node:crypto"
import { isIP } from "node:net"
import { Schema } from "effect"
import { Carrier } from "../domain/Carrier.ts"
import type { Role } from "../domain/Role.ts"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type { AddrPort, HostPort as HostPortMessage } from "./gen/model_pb.js"

/** Longest free text about a client or relay, in UTF-16 units. */
const MAX_METADATA = 4096
/** Longest version text of a program. */
const MAX_VERSION = 256
/** Longest id of a client, relay or control server; ours have 52 or 74 letters. */
const MAX_ID = 256
/** Longest token; longer ones only make comparison slow. */
const MAX_TOKEN = 4096
/** Longest opaque token; ours have 92 bytes. */
const MAX_BLOB = 4096
/** Longest certificate, in bytes of DER. */
const MAX_CERTIFICATE = 16 * 1024

const text = (maximum: number) => Schema.String.check(Schema.isMaxLength(maximum))

/** Free text about a client or relay. */
export const Metadata = text(MAX_METADATA)
/** Version of the sending program. */
export const BuildVersion = text(MAX_VERSION)
/** Names a client, relay or control server. */
export const Id = Schema.NonEmptyString.check(Schema.isMaxLength(MAX_ID))
/** Secret of a client or relay. */
export const Token = Schema.RedactedFromValue(text(MAX_TOKEN))
/** A DNS name or an IP literal. */
export const Host = Schema.NonEmptyString.check(Schema.isMaxLength(253))

/** Bytes that only their maker can read. */
export const Blob = Schema.Uint8Array.check(
  Schema.makeFilter((bytes) => (bytes.length <= MAX_BLOB ? undefined : `longer than ${MAX_BLOB} bytes`))
)

/** An X25519 public key (RFC 7748). */
export const Key32 = Schema.Uint8Array.check(
  Schema.makeFilter((bytes) => (bytes.length === 32 ? undefined : `a key has 32 bytes, not ${bytes.length}`))
)

/** A certificate (DER) that can be parsed. */
export const Certificate = Schema.Uint8Array.check(
  Schema.makeFilter((der) => {
    if (der.length > MAX_CERTIFICATE) return `a certificate has at most ${MAX_CERTIFICATE} bytes`
    try {
      new X509Certificate(der)
      return undefined
    } catch {
      return "not a certificate in DER"
    }
  })
)

/** A copy: what is kept for long must not keep the whole message that it came in. */
export const readBytes = (bytes: Uint8Array): Uint8Array => Uint8Array.from(bytes)

const Port = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_535 }))

/** An IP address and the port to reach it at. */
export const Address = Schema.Struct({
  host: Schema.String.check(Schema.makeFilter((host) => (isIP(host) === 0 ? "not an IP address" : undefined))),
  port: Port
})

/** Where to dial, by name or address. */
export const HostPort = Schema.Struct({ host: Host, port: Port })

/** What of an address is to be checked: without a usable IP the host is empty. */
export const readAddress = (message: AddrPort | undefined) =>
  message && { host: readIp(message) ?? "", port: message.port }

/** v6 wins when both are set, also a bad one over a good v4. */
const readIp = ({ addr }: AddrPort): string | undefined => {
  if (addr === undefined) return undefined
  const { v4, v6 } = addr
  if (v6.length > 0) return v6.length === 16 ? SocketAddress.fromBytes(v6) : undefined
  return v4.length === 4 ? SocketAddress.fromBytes(v4) : undefined
}

/** Throws on a host that is no IP literal. */
export const writeAddress = (address: SocketAddress.SocketAddress) => {
  const bytes = SocketAddress.toBytes(address.host)
  if (bytes === undefined) throw new TypeError(`not an IP address: ${address.host}`)
  return { addr: bytes.length === 4 ? { v4: bytes } : { v6: bytes }, port: address.port }
}

const isHostPort = Schema.is(HostPort)

/** Those that can be dialed. Some programs write a literal IPv6 address in brackets. */
export const readHostPorts = (messages: ReadonlyArray<HostPortMessage>) =>
  messages.map(({ host, port }) => ({ host: host.replace(/^\[(.*)\]$/, "$1"), port })).filter(isHostPort)

/** What a relay takes; one that says nothing takes QUIC. */
export const Carriers = Schema.Array(Carrier)

/** Those that are known here. */
export const readCarriers = (names: ReadonlyArray<string>): ReadonlyArray<Carrier> =>
  names.length === 0 ? ["quic"] : Carrier.literals.filter((carrier) => names.includes(carrier))

/** QUIC alone goes without saying. */
export const writeCarriers = (carriers: ReadonlyArray<Carrier>): Array<string> =>
  carriers.join() === "quic" ? [] : [...carriers]

const ROLES: ReadonlyArray<Role | undefined> = [undefined, "destination", "source"]

/** Undefined for a role that nobody knows. */
export const readRole = (role: number): Role | undefined => ROLES[role]
/** The number of a role. */
export const writeRole = (role: Role): number => ROLES.indexOf(role)
