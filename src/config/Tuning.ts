/** How sockets and connections are set up, where the defaults do not fit: `[<role>.tuning]`, which upstream does not have. */
import { Result, Schema } from "effect"
import { CongestionControl } from "../domain/CongestionControl.ts"
import type { ConfigSource, RoleName, TuningTable } from "./ConfigTables.ts"
import { checkTable } from "./checkTable.ts"
import { oneOf } from "./oneOf.ts"
import { placeIn } from "./Place.ts"
import { parsed, parsedInteger } from "./parsed.ts"
import type { Checked } from "./together.ts"

/** What is left out has the transport's default. */
export interface Tuning {
  /** For QUIC only. */
  readonly congestionControl?: CongestionControl
  /** Buffers of each UDP socket, in bytes. */
  readonly receiveBufferBytes?: number
  readonly sendBufferBytes?: number
  /** A connection without a sign of life for so long is lost. */
  readonly idleTimeoutMillis?: number
}

/** The settings of a role's folded table. */
export const tuning = (
  sources: ReadonlyArray<ConfigSource>,
  role: RoleName,
  table: TuningTable = {}
): Checked<Tuning> =>
  Result.map(checkTable(TuningSettings, table, placeIn(sources, role)("tuning")), (settings) => ({
    ...renamed("congestionControl", settings["congestion-control"]),
    ...renamed("receiveBufferBytes", settings["receive-buffer"]),
    ...renamed("sendBufferBytes", settings["send-buffer"]),
    ...renamed("idleTimeoutMillis", settings["idle-timeout"])
  }))

const renamed = <K extends string, A>(key: K, value: A | undefined) =>
  (value === undefined ? {} : { [key]: value }) as { readonly [P in K]?: A }

const NANOS_PER_SECOND = 1_000_000_000
/** Shorter ones end connections over what is only a bad moment; longer ones keep paths that lead nowhere. */
const MIN_IDLE_NANOS = 5n * BigInt(NANOS_PER_SECOND)
const MAX_IDLE_NANOS = 600n * BigInt(NANOS_PER_SECOND)

const parseIdleTimeout = (nanos: bigint): Result.Result<number, string> =>
  nanos < MIN_IDLE_NANOS || nanos > MAX_IDLE_NANOS
    ? Result.fail(`${Number(nanos) / NANOS_PER_SECOND}s is no idle timeout; write a duration from 5s to 10m`)
    : Result.succeed(Number(nanos / 1_000_000n))

const TuningSettings = Schema.Struct({
  "congestion-control": Schema.optionalKey(parsed(oneOf("a congestion control", CongestionControl.literals))),
  "receive-buffer": Schema.optionalKey(Schema.Int),
  "send-buffer": Schema.optionalKey(Schema.Int),
  "idle-timeout": Schema.optionalKey(parsedInteger(parseIdleTimeout))
})
