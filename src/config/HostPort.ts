/**
 * Hosts with ports, as people write them: where to listen, which server to dial, which service to reach.
 *
 * A host is kept as it was written, an IPv6 address without its brackets; names are resolved by whoever dials. Ports
 * are decimal, 0 to 65535; 0 only where the system shall choose one to listen on.
 */
import { isIPv6 } from "node:net"
import { Result } from "effect"

export interface HostPort {
  /** A DNS name or an IP address; empty means every address where it is listened on. */
  readonly host: string
  readonly port: number
}

/** `host:port`, `[v6]:port` or `:port`, with what is wrong and what to write instead. */
const split = (text: string): Result.Result<HostPort, string> => {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text)
  if (match === null) {
    if (isIPv6(text)) return Result.fail(`"${text}" has no port; write [${text}]:port`)
    return Result.fail(`"${text}" is not a host and a port; write host:port, or [address]:port for IPv6`)
  }
  const [, bracketed, bare, digits] = match
  const port = /^\d*$/.test(digits!) ? Number(digits) : Number.NaN
  if (!(port <= 65_535)) return Result.fail(`"${digits}" is not a port; ports are 0 to 65535`)
  return Result.succeed({ host: bracketed ?? bare!, port })
}

/** Where to listen: `:19190` (every address), `127.0.0.1:19190`, `[::1]:0`. A missing port number is 0. */
export const parseListenAddress = split

/**
 * Where others are told to reach this machine: `host`, `host:port`, `[v6]`, `[v6]:port`, `:port` or nothing. What is left
 * out is an empty host, or port 0.
 */
export const parseHostport = (text: string): Result.Result<HostPort, string> => {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]\s/]*))(?::(\d+))?$/.exec(text)
  if (match === null || (match[1] !== undefined && !isIPv6(match[1]))) {
    if (isIPv6(text)) return Result.fail(`"${text}" is an IPv6 address without brackets; write [${text}]`)
    return Result.fail(`"${text}" is not a host with or without port; write host, host:port or [address]:port`)
  }
  const [, bracketed, bare, digits = "0"] = match
  const port = Number(digits)
  if (port > 65_535) return Result.fail(`"${digits}" is not a port; ports are 0 to 65535`)
  return Result.succeed({ host: bracketed ?? bare!, port })
}

/** A server to dial; without any colon, the port is `defaultPort`, if there is one. No host means this one. */
export const parseServerAddress =
  (defaultPort?: number) =>
  (text: string): Result.Result<HostPort, string> => {
    if (defaultPort !== undefined && !text.includes(":")) return Result.succeed({ host: text, port: defaultPort })
    return Result.flatMap(split(text), (address) => dialable(address, `"${text}"`))
  }

/** Something to dial, with this machine where there is no host; `shown` is how messages name it. */
export const dialable = <A extends HostPort>(address: A, shown: string): Result.Result<A, string> =>
  address.port === 0
    ? Result.fail(`${shown} has no port that can be dialed; ports are 1 to 65535`)
    : Result.succeed({ ...address, host: address.host || "localhost" })
