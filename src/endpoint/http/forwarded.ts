/**
 * The fields by which a service learns who asked, and for what: X-Forwarded-For, -Host and -Proto, and Forwarded (RFC 7239).
 *
 * - What earlier proxies wrote of users is kept, and whom we saw is added at its end. Only that last one is certain.
 * - Host and protocol are those that the user sees. What a proxy on the same machine says of them is believed.
 * - An end of a tunnel that does not know its user adds nobody: never the address of the tunnel.
 */
import { isIPv6 } from "node:net"
import { unmapped } from "../../domain/SocketAddress.ts"
import { type FieldLines, valuesOf, without } from "./requestHead.ts"

/** What is known of who sent a request. */
export interface Sender {
  /** The user's address; undefined where only the tunnel is seen. */
  readonly address: string | undefined
  /** Whether TLS was spoken with the user. */
  readonly secure: boolean
  /** The Host that was asked for. */
  readonly host: string
}

/** The fields with what is known of the sender. */
export const withForwarded = (lines: FieldLines, sender: Sender): Array<string> => {
  const chain = valuesOf(lines, "x-forwarded-for")
  const forwarded = valuesOf(lines, "forwarded")
  const address = sender.address && unmapped(sender.address)
  const believed = address === undefined || isLoopback(address)
  const said = (name: string, own: string) => (believed && valuesOf(lines, name).at(-1)) || own
  const host = said("x-forwarded-host", sender.host)
  const proto = said("x-forwarded-proto", sender.secure ? "https" : "http")

  const result = without(lines, FORWARDING)
  const users = address === undefined ? chain : [...chain, address]
  if (users.length > 0) result.push("X-Forwarded-For", users.join(", "))
  if (host !== "") result.push("X-Forwarded-Host", host)
  result.push("X-Forwarded-Proto", proto)
  // Whoever understands both must not learn less from the one than from the other (RFC 7239 §7.4).
  const earlier =
    forwarded.length > 0 ? forwarded : chain.flatMap((list) => list.split(/\s*,\s*/)).map((each) => `for=${node(each)}`)
  const hop = `for=${node(address ?? "unknown")}${host === "" ? "" : `;host=${quoted(host)}`};proto=${quoted(proto)}`
  const hops = address === undefined && earlier.length > 0 ? earlier : [...earlier, hop]
  result.push("Forwarded", hops.join(", "))
  return result
}

const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.")

/** A node of RFC 7239: an IPv6 address in brackets, and quoted for its colons. */
const node = (address: string): string => quoted(isIPv6(address) ? `[${address}]` : address)

/** A token as it is, anything else in quotes. */
const quoted = (value: string): string =>
  /^[\w!#$%&'*+.^`|~-]+$/.test(value) ? value : `"${value.replace(/["\\]/g, "\\$&")}"`

const FORWARDING = new Set(["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"])
