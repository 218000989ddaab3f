import { Duration } from "effect"

/** A duration of nanoseconds; nothing where they are absent, 0 or negative. */
export const positiveDuration = (nanos: bigint | undefined): Duration.Duration | undefined =>
  nanos !== undefined && nanos > 0n ? Duration.nanos(nanos) : undefined
