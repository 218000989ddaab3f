import { Effect, Random } from "effect"

const BASE_MILLIS = 10
const MAX_MILLIS = 5_000

/**
 * A pause that grows each time it is run: 10 ms at first, then anything up to three times the last one, never more than
 * 5 s ("decorrelated jitter", so that many clients of a restarted server do not come back at once).
 */
// A function, because each pause has a state of its own.
// @effect-diagnostics-next-line lazyEffect:off
export const backoff = (): Effect.Effect<void> => {
  let last = 0
  return Effect.gen(function* () {
    last = Math.min(BASE_MILLIS + (yield* Random.next) * Math.max(0, 3 * last - BASE_MILLIS), MAX_MILLIS)
    yield* Effect.sleep(last)
  })
}

const REST_MILLIS = 1_000
const MAX_REST_MILLIS = 30_000

/** The pause before something that is of use, but not needed: a second at first, and twice as long each time, up to 30 s. */
export const rest = (attempts: number): Effect.Effect<void> =>
  Effect.sleep(Math.min(REST_MILLIS * 2 ** Math.min(attempts - 1, 10), MAX_REST_MILLIS))
