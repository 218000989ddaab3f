import { type Duration, Effect, Option } from "effect"
import type { Connection } from "./Transport.ts"

/**
 * Asks the other end for a sign of life: the round trip in milliseconds, or undefined when only other things show that it
 * is there. None when nothing does for so long.
 *
 * An answer may be late because much is under way before it, most of all over TCP: then bytes have come meanwhile, or bytes
 * that waited have gone.
 */
export const signOfLife = Effect.fnUntraced(function* (connection: Connection, patience: Duration.Input) {
  const before = connection.traffic()
  const answer = yield* connection.probe.pipe(
    Effect.timeoutOption(patience),
    Effect.orElseSucceed(() => Option.none<number>())
  )
  if (Option.isSome(answer) || connection.ended() !== undefined) return answer
  const now = connection.traffic()
  const alive =
    now.bytesReceived > before.bytesReceived || (before.bytesWaiting > 0 && now.bytesSent > before.bytesSent)
  return alive ? Option.some(undefined) : Option.none<number>()
})
