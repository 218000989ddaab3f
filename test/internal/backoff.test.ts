import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { backoff } from "../../src/internal/backoff.ts"

/** How long each of so many pauses was, in milliseconds. */
const pauses = Effect.fnUntraced(function* (count: number) {
  const pause = backoff()
  const timed = Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    yield* pause
    return (yield* Clock.currentTimeMillis) - startedAt
  })
  const running = yield* Effect.forkChild(Effect.all(Array.from({ length: count }, () => timed)))
  yield* TestClock.adjust(count * 5_000)
  return yield* Fiber.join(running)
})

describe("backoff", () => {
  it.effect("begins with 10 ms and grows to some seconds, three times the last pause at most", () =>
    Effect.gen(function* () {
      let longest = 0
      for (let run = 0; run < 20; run++) {
        const all = yield* pauses(60)
        assert.isAtMost(Math.abs(all[0]! - 10), 1)
        for (const [at, pause] of all.entries()) {
          // The clock counts whole milliseconds.
          assert.isAtMost(pause, Math.min(5_000, at === 0 ? 10 : Math.max(10, 3 * (all[at - 1]! + 1))) + 1)
          assert.isAtLeast(pause, 9)
        }
        longest = Math.max(longest, ...all)
      }
      assert.isAbove(longest, 1_000)
    })
  )

  it.effect("is not the same for two who begin together", () =>
    Effect.gen(function* () {
      assert.notDeepEqual(yield* pauses(20), yield* pauses(20))
    })
  )
})
