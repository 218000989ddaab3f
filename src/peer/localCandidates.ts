/** The addresses of this host under which a peer in reach may find our socket. */
import { networkInterfaces } from "node:os"
import type { SocketAddress } from "../domain/SocketAddress.ts"
import type { LocalInterface } from "./Candidates.ts"

export const localInterfaces = (): ReadonlyArray<LocalInterface> =>
  Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? [])

/**
 * @param bound where the socket is bound: a wildcard stands for every address of its families
 * @returns no link-local IPv6 address, which is of no use to others without its zone, and loopback only when there is
 *   nothing else
 */
export const localCandidates = (
  bound: SocketAddress,
  interfaces: ReadonlyArray<LocalInterface>
): ReadonlyArray<SocketAddress> => {
  if (bound.host !== "::" && bound.host !== "0.0.0.0") return [bound]
  const usable = interfaces
    .filter(({ address }) => !address.startsWith("fe80:"))
    .filter(({ address }) => bound.host === "::" || !address.includes(":"))
  const outward = usable.filter(({ internal }) => !internal)
  return (outward.length > 0 ? outward : usable).map(({ address }) => ({ host: address, port: bound.port }))
}
