import { Duration, Effect, Option } from "effect"
import type { Connection } from "../transport/Transport.ts"

/** A session that does not answer this often in a row, once in this time each, is given up. */
const PROBE_EVERY = Duration.seconds(2)
const PROBE_DEADLINE = Duration.millis(1500)
const PROBES_MISSED = 2

/** Ends, with a word on it, when the other side has stopped answering. */
export const unresponsive = Effect.fnUntraced(function* (connection: Connection) {
  let missed = 0
  while (missed < PROBES_MISSED) {
    yield* Effect.sleep(PROBE_EVERY)
    const answered = yield* connection.probe.pipe(
      Effect.timeoutOption(PROBE_DEADLINE),
      Effect.orElseSucceed(() => Option.none<number>())
    )
    missed = Option.isSome(answered) ? 0 : missed + 1
  }
  return "it does not answer any more"
})
