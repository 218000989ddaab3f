import { BlockList, isIP } from "node:net"
import { Result } from "effect"
import { type Proxy, parseProxy } from "./Proxy.ts"
import { unmapped } from "./SocketAddress.ts"

/** Variables of an environment that say which proxy to use; the first one that is set counts. */
export const PROXY_VARIABLES = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] as const

/** Variables of an environment that say what is reached without one. */
export const NO_PROXY_VARIABLES = ["NO_PROXY", "no_proxy"] as const

/** The variables of an environment. */
export type Environment = Readonly<Record<string, string | undefined>>

/** What shall be reached: a name or an address, and a port. */
export interface ProxyTarget {
  readonly host: string
  readonly port: number
}

/**
 * The proxy that an environment wants for a target, or undefined when it is to be dialed itself: no proxy is set, `NO_PROXY`
 * lists it, or it is on this machine. Fails with what is wrong with the variable.
 *
 * `NO_PROXY` is read as Go does, and so upstream connet: entries between commas, each `*`, an IP address, a range
 * (`10.0.0.0/8`), a domain with all below it (`example.com`), or only what is below it (`.example.com`); but for a range,
 * a port may follow.
 */
export const proxyFor = (environment: Environment, target: ProxyTarget): Result.Result<Proxy | undefined, string> => {
  const name = PROXY_VARIABLES.find((name) => environment[name])
  if (name === undefined) return Result.succeed(undefined)
  const exceptions = NO_PROXY_VARIABLES.map((name) => environment[name]).find(Boolean) ?? ""
  const host = unmapped(target.host.split("%")[0]!.replace(/\.$/, "")).toLowerCase()
  if (isLoopback(host) || exceptions.split(/[,\s]+/).some((entry) => covers(entry.toLowerCase(), host, target.port))) {
    return Result.succeed(undefined)
  }
  return Result.mapError(parseProxy(environment[name]!), (detail) => `${name}: ${detail}`)
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4")
LOOPBACK.addAddress("::1", "ipv6")

const isLoopback = (host: string) =>
  host === "" || host === "localhost" || host.endsWith(".localhost") || inList(LOOPBACK, host)

const inList = (list: BlockList, host: string) =>
  isIP(host) !== 0 && list.check(host, isIP(host) === 4 ? "ipv4" : "ipv6")

/** Whether an entry of `NO_PROXY`, in lower case, names this target. */
const covers = (entry: string, host: string, port: number): boolean => {
  if (entry === "") return false
  const range = /^([0-9a-f.:]+)\/(\d+)$/.exec(entry)
  if (range !== null) return inList(rangeOf(range[1]!, Number(range[2])), host)
  const [, bracketed, bare = entry, digits] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(entry) ?? []
  if (digits !== undefined && Number(digits) !== port) return false
  const name = (bracketed ?? bare).replace(/^\*\./, ".")
  if (name === "*") return true
  if (isIP(name) !== 0) return inList(rangeOf(name, isIP(name) === 4 ? 32 : 128), host)
  if (isIP(host) !== 0) return false
  return name.startsWith(".") ? host.endsWith(name) : host === name || host.endsWith(`.${name}`)
}

/** The addresses of a range; none when it is not one. */
const rangeOf = (address: string, bits: number): BlockList => {
  const list = new BlockList()
  const family = isIP(address)
  if (family !== 0 && bits <= (family === 4 ? 32 : 128)) list.addSubnet(address, bits, family === 4 ? "ipv4" : "ipv6")
  return list
}
