/**
 * Failures that come again and again are told once, and then summed up: how often each came in the minute after, told with the
 * first line that is written when the minute is over. Whoever fails on purpose cannot fill the log either.
 */
import type { LogRecord } from "./logging.ts"

const WINDOW_MILLIS = 60_000
/** More kinds of failures than this at a time are written as they come. */
const MAX_KINDS = 256

interface Kind {
  readonly untilMillis: number
  count: number
  last: LogRecord
}

/** What to write for a record: sums that are due, and the record itself unless it is one more of a kind. */
export const makeRepeats = () => {
  const kinds = new Map<string, Kind>()
  return (record: LogRecord): ReadonlyArray<LogRecord> => {
    const now = Date.parse(record.time)
    const due: Array<LogRecord> = []
    for (const [key, { untilMillis, count, last }] of kinds) {
      if (now < untilMillis) continue
      kinds.delete(key)
      if (count > 0) due.push({ ...last, fields: { ...last.fields, repeated: count } })
    }
    if (!isFailure(record)) return [...due, record]
    const key = kindOf(record)
    const kind = kinds.get(key)
    if (kind !== undefined) {
      kind.count++
      kind.last = record
      return due
    }
    if (kinds.size < MAX_KINDS) kinds.set(key, { untilMillis: now + WINDOW_MILLIS, count: 0, last: record })
    return [...due, record]
  }
}

/** What tells that something came or went is never summed up: its order matters. */
const isFailure = ({ level, message }: LogRecord): boolean =>
  level === "error" || /^\w+(\.\w+)*\.(refused|unreachable|failed)\b/.test(message)

/** Records differ not by the time, nor by where somebody comes from: he has another port each time. */
const kindOf = ({ level, message, fields, cause }: LogRecord): string => {
  const { address: _, ...others } = fields
  return JSON.stringify([level, message, others, cause], (_, value) =>
    typeof value === "bigint" ? String(value) : value
  )
}
