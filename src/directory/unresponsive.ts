import { Duration, Effect, Option } from "effect"
import { signOfLife } from "../transport/signOfLife.ts"
import type { Connection } from "../transport/Transport.ts"

/** How often a session is asked; when it does not answer, it is asked once more, at once. */
const PROBE_EVERY = Duration.seconds(2)
const PROBE_DEADLINE = Duration.seconds(1)
const PROBES_MISSED = 2

/** Ends, with a word on it, when the other side has stopped answering. */
export const unresponsive = Effect.fnUntraced(function* (connection: Connection) {
  let missed = 0
  while (missed < PROBES_MISSED) {
    if (missed === 0) yield* Effect.sleep(PROBE_EVERY)
    const answered = yield* signOfLife(connection, PROBE_DEADLINE)
    missed = Option.isSome(answered) ? 0 : missed + 1
  }
  return "it does not answer any more"
})
