import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import { TestClock } from "effect/testing"
import { signOfLife } from "../../src/transport/signOfLife.ts"
import type { Connection, Traffic } from "../../src/transport/Transport.ts"
import { Lost, TransportError } from "../../src/transport/TransportError.ts"

const QUIET: Traffic = {
  streams: 1,
  streamsLeft: 1,
  roundTripMillis: 10,
  bytesSent: 1_000,
  bytesReceived: 1_000,
  bytesWaiting: 0
}

/** What is found when the patience of a second is over, or before; `later` is how its traffic has changed by then. */
const ask = Effect.fnUntraced(function* (
  probe: Connection["probe"],
  { now = {}, later = {}, ended }: { now?: Partial<Traffic>; later?: Partial<Traffic>; ended?: Lost } = {}
) {
  let traffic = { ...QUIET, ...now }
  const connection: Pick<Connection, "probe" | "traffic" | "ended"> = {
    probe,
    traffic: () => traffic,
    ended: () => ended
  }
  const asking = yield* Effect.forkChild(signOfLife(connection as Connection, "1 second"), { startImmediately: true })
  traffic = { ...traffic, ...later }
  yield* TestClock.adjust("1 second")
  return yield* Fiber.join(asking)
})

describe("a sign of life", () => {
  it.effect("is an answer, with its round trip", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* ask(Effect.succeed(12)), Option.some(12))
    })
  )

  it.effect("is what comes while the answer does not, or room for what has waited", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* ask(Effect.never, { later: { bytesReceived: 1_001 } }), Option.some(undefined))
      const blocked = { bytesWaiting: 500 }
      assert.deepEqual(
        yield* ask(Effect.never, { now: blocked, later: { bytesSent: 1_100, bytesWaiting: 400 } }),
        Option.some(undefined)
      )
    })
  )

  it.effect("is not what was only handed to the system, nor anything on a connection that has ended", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* ask(Effect.never), Option.none())
      assert.deepEqual(yield* ask(Effect.never, { later: { bytesSent: 2_000, bytesWaiting: 100 } }), Option.none())
      const reason = new Lost()
      const over = Effect.fail(new TransportError({ reason }))
      assert.deepEqual(yield* ask(over, { later: { bytesReceived: 2_000 }, ended: reason }), Option.none())
    })
  )
})
