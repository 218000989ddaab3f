/**
 * A proxy that opens TCP connections for us: an HTTP proxy (RFC 9110 §9.3.6), the same over TLS, or a SOCKS5 one (RFC 1928).
 *
 * Invariants: host and port can be dialed, user name and password are such that the protocol can carry them, and the
 * password is `Redacted` from the moment it is read. No message holds it.
 */
import { isIPv6 } from "node:net"
import { Redacted, Result } from "effect"
import * as SocketAddress from "./SocketAddress.ts"

export interface Proxy {
  readonly kind: "http" | "https" | "socks5"
  /** A DNS name or an IP address, without brackets. */
  readonly host: string
  readonly port: number
  /** What the proxy asks for, if it asks. */
  readonly credentials: ProxyCredentials | undefined
}

/** The proxy to reach a target through, if there is one for it; or what is wrong with the settings. */
export type ProxyFor = (target: {
  readonly host: string
  readonly port: number
}) => Result.Result<Proxy | undefined, string>

/** Who we are to a proxy. */
export interface ProxyCredentials {
  readonly username: string
  readonly password: Redacted.Redacted<string>
}

/** The proxy as people write it, without user name and password. */
export const formatProxy = (proxy: Proxy): string => `${proxy.kind}://${SocketAddress.format(proxy)}`

/**
 * `http://user:password@host:3128`, `https://…`, `socks5://host:1080` or `socks5h://…` (which is the same here: the proxy
 * resolves names), or `host:port` for HTTP. Else what is wrong with it and what to write, as a half sentence.
 */
export const parseProxy = (text: string): Result.Result<Proxy, string> => {
  const { scheme, userinfo, authority, shown } = split(text)
  const refused = (why: string) => Result.fail(`"${shown}" ${why}`)

  const kind = KINDS.get(scheme ?? "http")
  if (kind === undefined) return refused(`has a scheme that is not one of a proxy; ${PROXY_FORMS}`)
  const match = /^(?:\[([^[\]]*)\]|([^:[\]/?#\s]+))(?::(\d*))?$/.exec(authority)
  if (match === null) return refused(`is not a proxy; ${PROXY_FORMS}`)
  const [, bracketed, bare, digits] = match
  if (bracketed !== undefined && !isIPv6(bracketed))
    return refused("has no IPv6 address between its brackets; write one like [2001:db8::1]")
  if (scheme === undefined && !digits) return refused(`has no port; ${PROXY_FORMS}`)
  const port = digits ? Number(digits) : PORTS[kind]
  if (port < 1 || port > 65_535) return refused("has no port that can be dialed; ports are 1 to 65535")

  const credentials = userinfo === undefined ? Result.succeed(undefined) : parseCredentials(kind, userinfo)
  if (Result.isFailure(credentials)) return refused(credentials.failure)
  return Result.succeed({ kind, host: bracketed ?? bare!, port, credentials: credentials.success })
}

/** What a message says of the forms that there are. */
export const PROXY_FORMS = "write http://host:port, https://host:port or socks5://host:port"

const KINDS: ReadonlyMap<string, Proxy["kind"]> = new Map([
  ["http", "http"],
  ["https", "https"],
  ["socks5", "socks5"],
  ["socks5h", "socks5"]
])

/** Where a URL without port leads. */
const PORTS = { http: 80, https: 443, socks5: 1_080 }

/** The parts of the text, and what a message may show of it: neither user nor password, also not where they are misplaced. */
const split = (text: string) => {
  const [, scheme, rest = ""] = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/is.exec(text.trim()) ?? []
  const at = rest.lastIndexOf("@")
  const authority = rest.slice(at + 1).replace(/\/$/, "")
  const [harmless = ""] = /^(?:\[[^\]]*\]|[^:[/?#]*)(?::\d+$)?/.exec(authority) ?? []
  return {
    scheme: scheme?.toLowerCase(),
    userinfo: at < 0 ? undefined : rest.slice(0, at),
    authority,
    shown: `${scheme === undefined ? "" : `${scheme}://`}${at < 0 ? "" : "…@"}${harmless}${harmless === authority ? "" : "…"}`
  }
}

/** The longest user name and password of SOCKS5 (RFC 1929). */
const MAX_SOCKS_BYTES = 255

const parseCredentials = (kind: Proxy["kind"], userinfo: string): Result.Result<ProxyCredentials, string> => {
  const colon = userinfo.indexOf(":")
  const parts = colon < 0 ? [userinfo, ""] : [userinfo.slice(0, colon), userinfo.slice(colon + 1)]
  const decoded = Result.try(() => parts.map(decodeURIComponent))
  if (Result.isFailure(decoded)) {
    return Result.fail('has a "%" in its user name or password that encodes nothing; write %25 for the sign itself')
  }
  const [username = "", password = ""] = decoded.success
  if (username === "") return Result.fail("has no user name before its @; write user:password@, or leave it out")
  if (kind !== "socks5" && username.includes(":")) {
    return Result.fail("has a colon in its user name, which HTTP does not allow")
  }
  if (kind === "socks5" && [username, password].some((part) => Buffer.byteLength(part) > MAX_SOCKS_BYTES)) {
    return Result.fail(`has a user name or password of more than ${MAX_SOCKS_BYTES} bytes, which SOCKS5 does not allow`)
  }
  return Result.succeed({ username, password: Redacted.make(password, { label: "password" }) })
}
