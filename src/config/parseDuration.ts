import { Result } from "effect"

/** Nanoseconds of each unit that a duration may be written in. Both letters that look like µ count. */
const UNITS: Record<string, bigint> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n
}

const PART = /(\d*)(?:\.(\d*))?(ns|us|µs|μs|ms|s|m|h)/y

/** What fits in 64 bits with a sign: 292 years either way. */
const MAX = 2n ** 63n

/**
 * Nanoseconds of a duration as Go writes it: numbers, each with a unit, one after the other (`1h2m`, `1.5s`, `-5ms`), or
 * `0`. Parts of a nanosecond are cut off.
 */
export const parseDuration = (text: string): Result.Result<bigint, string> => {
  const invalid = Result.fail(`"${text}" is not a duration; write numbers with units, like 30s, 1m30s or 250ms`)
  const [, sign, body] = /^([-+]?)(.*)$/su.exec(text) as unknown as [string, string, string]
  if (body === "0") return Result.succeed(0n)
  if (body === "") return invalid
  let total = 0n
  PART.lastIndex = 0
  while (PART.lastIndex < body.length) {
    const part = PART.exec(body)
    if (part === null) return invalid
    const [, whole = "", fraction = "", unit] = part
    if (whole === "" && fraction === "") return invalid
    const nanos = UNITS[unit!]!
    total += BigInt(whole === "" ? 0 : whole) * nanos
    if (fraction !== "") total += (BigInt(fraction) * nanos) / 10n ** BigInt(fraction.length)
  }
  const signed = sign === "-" ? -total : total
  return signed >= MAX || signed < -MAX
    ? Result.fail(`"${text}" is too long a duration; write 292 years at most, 2562047h`)
    : Result.succeed(signed)
}

/** Nanoseconds as Go writes them, without zeros: `1m30s`, `1.5s`, `250ms`. */
export const formatDuration = (nanos: bigint): string => {
  if (nanos < 0n) return `-${formatDuration(-nanos)}`
  const [hours, minutes, rest] = [nanos / UNITS.h!, (nanos % UNITS.h!) / UNITS.m!, nanos % UNITS.m!]
  const whole = [hours && `${hours}h`, minutes && `${minutes}m`].filter((part) => part !== 0n)
  const unit = (["s", "ms", "us", "ns"] as const).find((name) => rest >= UNITS[name]!)
  if (unit === undefined) return whole.join("") || "0s"
  const fraction = String(rest % UNITS[unit]!)
    .padStart(String(UNITS[unit]!).length - 1, "0")
    .replace(/0+$/, "")
  return `${whole.join("")}${rest / UNITS[unit]!}${fraction === "" ? "" : `.${fraction}`}${unit}`
}
