/**
 * Whether the service beside a destination can be reached, and what sources are told of it. Pure: what was seen goes in, and
 * with it the state says what is to be done next, and when.
 *
 * - One dial that fails makes it down, one that gets through makes it up again.
 * - While it is down, and only then, it is probed: a second after the failure, then half as often each time, up to 30 s.
 * - Sources are told at most once a second, of the latest.
 */

export interface Health {
  readonly service: "Up" | "Down"
  /** What sources believe. */
  readonly told: "Up" | "Down"
  /** When they were told; undefined: never, they believe the best. */
  readonly toldAt: number | undefined
  /** When the service was found down, or probed last. */
  readonly triedAt: number
  /** Probes since then. */
  readonly probes: number
}

/** What is to be done next, and not before. Undefined: nothing until something is seen. */
export interface Task {
  readonly _tag: "Tell" | "Probe"
  readonly at: number
}

/** As long as nobody has tried. */
export const HEALTHY: Health = { service: "Up", told: "Up", toldAt: undefined, triedAt: 0, probes: 0 }

/** A dial for a user, or a probe, got through or did not. */
export const seen = (health: Health, reached: boolean, now: number): Health => {
  if (reached) return health.service === "Up" ? health : { ...health, service: "Up" }
  // Users who still try it say nothing new, and put off no probe.
  return health.service === "Down" ? health : { ...health, service: "Down", triedAt: now, probes: 0 }
}

/** A probe has begun. */
export const probing = (health: Health, now: number): Health => ({
  ...health,
  triedAt: now,
  probes: health.probes + 1
})

/** Sources have been told what is. */
export const told = (health: Health, now: number): Health => ({ ...health, told: health.service, toldAt: now })

/** The next thing to do. */
export const nextTask = ({ service, told, toldAt, triedAt, probes }: Health): Task | undefined => {
  const tell: Task | undefined =
    service === told ? undefined : { _tag: "Tell", at: toldAt === undefined ? 0 : toldAt + TELL_EVERY_MILLIS }
  if (service === "Up") return tell
  const pause = Math.min(PROBE_AFTER_MILLIS * 2 ** Math.min(probes, 10), MAX_PAUSE_MILLIS)
  const probe: Task = { _tag: "Probe", at: triedAt + pause }
  return tell === undefined || probe.at < tell.at ? probe : tell
}

const TELL_EVERY_MILLIS = 1_000
const PROBE_AFTER_MILLIS = 1_000
const MAX_PAUSE_MILLIS = 30_000
