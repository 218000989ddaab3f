import { networkInterfaces } from "node:os"
import type { Carrier } from "../domain/Carrier.ts"

/**
 * Remembers what got through last, for as long as this host stays on the same networks: where UDP is dropped, nobody has
 * to wait for QUIC each time.
 */
export const makeLastCarrier = (networks: () => string = localNetworks) => {
  let last: { readonly carrier: Carrier; readonly on: string } | undefined
  return {
    worked: (carrier: Carrier): void => {
      last = { carrier, on: networks() }
    },
    /** The carriers in the order to try them. */
    first: (carriers: ReadonlyArray<Carrier>): ReadonlyArray<Carrier> => {
      const carrier = last?.on === networks() ? last.carrier : undefined
      return carriers.toSorted((a, b) => Number(b === carrier) - Number(a === carrier))
    }
  }
}

const localNetworks = (): string =>
  Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ internal }) => !internal)
    .map(({ cidr }) => cidr)
    .sort()
    .join()
