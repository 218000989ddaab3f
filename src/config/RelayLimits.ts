import type { LimitsTable } from "./ConfigTables.ts"

/** What a relay carries at most for others; what is left out has no limit. */
export interface RelayLimits {
  /** How many streams one link may have open at once. */
  readonly streamsPerLink?: number
  /** How many links one address may have at once. */
  readonly linksPerAddress?: number
  /** How many bytes one link may carry a second. */
  readonly bytesPerSecondPerLink?: number
}

/** The limits of a table, whose values were checked when it was read. */
export const relayLimits = (table: LimitsTable = {}): RelayLimits => {
  const {
    "streams-per-link": streamsPerLink,
    "links-per-address": linksPerAddress,
    "bytes-per-second-per-link": bytesPerSecondPerLink
  } = table
  return {
    ...(streamsPerLink === undefined ? {} : { streamsPerLink }),
    ...(linksPerAddress === undefined ? {} : { linksPerAddress }),
    ...(bytesPerSecondPerLink === undefined ? {} : { bytesPerSecondPerLink })
  }
}
