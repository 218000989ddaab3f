import { BlockList, isIPv6 } from "node:net"

const PRIVATE = new BlockList()
for (const [network, bits] of [
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["100.64.0.0", 10]
] as const) {
  PRIVATE.addSubnet(network, bits, "ipv4")
}
PRIVATE.addSubnet("fc00::", 7, "ipv6")

/** Whether an IP address is one that the internet does not route: RFC 1918, what carriers share (RFC 6598), RFC 4193. */
export const isPrivate = (host: string): boolean => PRIVATE.check(host, isIPv6(host) ? "ipv6" : "ipv4")
