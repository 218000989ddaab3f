/** Which addresses of a remote peer to try first. Pure. */

import { BlockList, isIP, isIPv6 } from "node:net"
import type { NetworkInterfaceInfo } from "node:os"
import { isPrivate } from "../domain/privateNetworks.ts"
import * as SocketAddress from "../domain/SocketAddress.ts"

/** An address of this host with its network. */
export type LocalInterface = Pick<NetworkInterfaceInfo, "address" | "cidr" | "internal">

const subnets = (interfaces: ReadonlyArray<LocalInterface>): BlockList => {
  const list = new BlockList()
  for (const { cidr } of interfaces) {
    const [network, bits] = cidr?.split("/") ?? []
    if (network !== undefined && bits !== undefined) list.addSubnet(network, Number(bits), family(network))
  }
  return list
}

const family = (host: string) => (isIPv6(host) ? ("ipv6" as const) : ("ipv4" as const))

const linkLocal = new BlockList()
linkLocal.addSubnet("fe80::", 10, "ipv6")
linkLocal.addSubnet("169.254.0.0", 16, "ipv4")

/**
 * The candidates in order of promise, each once: loopback and our own subnets, then IPv6, then public IPv4, then private
 * networks that we are not in; last what most likely leads nowhere: an address that is also ours (a bridge that both
 * hosts have, or another client of this host, which the near addresses reach as well), link-local ones without a zone.
 */
export const inOrderOfPromise = (
  candidates: ReadonlyArray<SocketAddress.SocketAddress>,
  interfaces: ReadonlyArray<LocalInterface>
): ReadonlyArray<SocketAddress.SocketAddress> => {
  const near = subnets(interfaces)
  const ours = new Set(interfaces.filter(({ internal }) => !internal).map(({ address }) => address))
  const rank = ({ host }: SocketAddress.SocketAddress): number => {
    if (isIP(host) === 0) return 9
    if (linkLocal.check(host, family(host))) return 8
    if (ours.has(host)) return 5
    if (near.check(host, family(host))) return 0
    if (isPrivate(host)) return 4
    return isIPv6(host) ? 2 : 3
  }
  const unique = new Map(candidates.map((candidate) => [SocketAddress.format(candidate), candidate]))
  return [...unique.values()].sort((a, b) => rank(a) - rank(b))
}
