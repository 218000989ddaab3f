/**
 * Which IP addresses may do something: ranges that are allowed, ranges that are denied.
 *
 * Any denied range that holds the address decides; else any allowed one; else everybody may, but only where nothing is
 * allowed in particular. An address has one form here: v4-mapped ones are IPv4, and zones are not looked at. Upstream
 * leaves both as they are, so that a denied `fe80::/10` does not stop link-local peers, and a v4-mapped entry nobody.
 */
import { BlockList, isIP } from "node:net"
import { Result } from "effect"
import { fromBytes, toBytes, unmapped } from "./SocketAddress.ts"

export interface AddressRules {
  /** The ranges as they were understood, like `10.0.0.0/8`. */
  readonly allow: ReadonlyArray<string>
  readonly deny: ReadonlyArray<string>
  /** Whether an IP address, with or without a zone, may. What is no address may not, unless everybody may. */
  readonly allows: (host: string) => boolean
}

/** A range of IP addresses of one family. */
export interface AddressRange {
  /** Any address of the range, in its canonical form. */
  readonly address: string
  /** How many leading bits all its addresses have in common. */
  readonly bits: number
}

/** One range (`10.0.0.0/8`) or one address (`192.0.2.7`), or what is wrong with it and what to write. */
export const parseAddressRange = (text: string): Result.Result<AddressRange, string> => {
  const [, written = "", digits] = /^([^/]*)(?:\/(0|[1-9]\d{0,2}))?$/.exec(text) ?? []
  const width = isIP(written) === 4 ? 32 : 128
  const bits = digits === undefined ? width : Number(digits)
  if (isIP(written) === 0 || bits > width) {
    return Result.fail(`"${text}" is not an address or a range; write one like 10.0.0.0/8 or 192.0.2.7`)
  }
  const [bare] = written.split("%") as [string]
  if (bare !== written && digits !== undefined) {
    return Result.fail(`"${text}" is a range with a zone; write it without, ${bare}/${digits}`)
  }
  const address = fromBytes(toBytes(bare)!)!
  if (isIP(address) === isIP(bare)) return Result.succeed({ address, bits })
  if (bits < MAPPED_BITS) {
    return Result.fail(`"${text}" holds more than IPv4 addresses; write them as IPv4, like 10.0.0.0/8`)
  }
  return Result.succeed({ address, bits: bits - MAPPED_BITS })
}

export const makeAddressRules = (
  allow: ReadonlyArray<AddressRange>,
  deny: ReadonlyArray<AddressRange>
): AddressRules => {
  const [allowed, denied] = [anyOf(allow), anyOf(deny)]
  const texts = (ranges: ReadonlyArray<AddressRange>) => ranges.map(({ address, bits }) => `${address}/${bits}`)
  return {
    allow: texts(allow),
    deny: texts(deny),
    allows: (host) => {
      const address = unmapped(host.split("%")[0]!)
      return !denied(address) && (allow.length === 0 || allowed(address))
    }
  }
}

/** Rules that are asked at a door, and may be replaced meanwhile: the next one who comes meets the new ones. */
export const makeGate = (rules: AddressRules) => {
  let current = rules
  return {
    admits: (host: string): boolean => current.allows(host),
    rules: (): AddressRules => current,
    replace: (next: AddressRules): void => {
      current = next
    }
  }
}

/** Whether an address is in any of the ranges. A list for each family: one for both takes IPv4 for a part of `::/0`. */
const anyOf = (ranges: ReadonlyArray<AddressRange>) => {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const { address, bits } of ranges) lists[familyOf(address)].addSubnet(address, bits, familyOf(address))
  return (address: string): boolean => isIP(address) !== 0 && lists[familyOf(address)].check(address, familyOf(address))
}

const familyOf = (address: string) => (isIP(address) === 4 ? "ipv4" : "ipv6")

/** What the prefix of v4-mapped addresses has, `::ffff:0:0/96`. */
const MAPPED_BITS = 96

/** Everybody may. */
export const ANY_ADDRESS = makeAddressRules([], [])
