import { PassThrough } from "node:stream"
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber } from "effect"
import { after, raceLater, type Watch, whenClosed } from "../../src/internal/raceLater.ts"

/** Never done; says when it is interrupted, which takes a moment. */
const endless = (interrupted: Array<string>, name: string) =>
  Effect.onInterrupt(Effect.never, () =>
    Effect.andThen(
      Effect.yieldNow,
      Effect.sync(() => interrupted.push(name))
    )
  )

/** A watch that the test plays, and what became of it. */
const played = () => {
  const seen: { rival?: Parameters<Watch<string, string>>[0]; withdrawn: number } = { withdrawn: 0 }
  const watch: Watch<string, string> = (rival) => {
    seen.rival = rival
    return () => {
      seen.withdrawn++
    }
  }
  return { seen, watch }
}

it.effect("what is done at once needs no watch", () =>
  Effect.gen(function* () {
    const { seen, watch } = played()
    assert.strictEqual(yield* raceLater(Effect.succeed("self"), watch), "self")
    assert.deepStrictEqual(seen, { withdrawn: 0 })
  })
)

it.effect("what is done before anything was noticed withdraws all watches", () =>
  Effect.gen(function* () {
    const [one, other] = [played(), played()]
    const done = yield* Deferred.make<string>()
    const racing = yield* Effect.forkChild(raceLater(Deferred.await(done), one.watch, other.watch), {
      startImmediately: true
    })
    yield* Deferred.succeed(done, "self")
    assert.strictEqual(yield* Fiber.join(racing), "self")
    assert.deepStrictEqual([one.seen.withdrawn, other.seen.withdrawn], [1, 1])
    one.seen.rival!(Effect.die("too late"))
  })
)

it.effect("a rival that is first interrupts the rest, and waits for that", () =>
  Effect.gen(function* () {
    const { seen, watch } = played()
    const interrupted: Array<string> = []
    const racing = yield* Effect.forkChild(Effect.exit(raceLater(endless(interrupted, "self"), watch)), {
      startImmediately: true
    })
    seen.rival!(Effect.fail("gone"))
    assert.deepStrictEqual(yield* Fiber.join(racing), Exit.fail("gone"))
    assert.deepStrictEqual([interrupted, seen.withdrawn], [["self"], 1])
  })
)

it.effect("a rival that is slower is interrupted", () =>
  Effect.gen(function* () {
    const { seen, watch } = played()
    const interrupted: Array<string> = []
    const done = yield* Deferred.make<string>()
    const racing = yield* Effect.forkChild(raceLater(Deferred.await(done), watch), { startImmediately: true })
    seen.rival!(endless(interrupted, "rival"))
    yield* Deferred.succeed(done, "self")
    assert.strictEqual(yield* Fiber.join(racing), "self")
    assert.deepStrictEqual(interrupted, ["rival"])
  })
)

it.effect("an interruption reaches everybody, and withdraws the watches", () =>
  Effect.gen(function* () {
    const { seen, watch } = played()
    const interrupted: Array<string> = []
    const racing = yield* Effect.forkChild(raceLater(endless(interrupted, "self"), watch), { startImmediately: true })
    seen.rival!(endless(interrupted, "rival"))
    yield* Fiber.interrupt(racing)
    assert.deepStrictEqual([interrupted.sort(), seen.withdrawn], [["rival", "self"], 1])
  })
)

it.live("a time and a stream that closes can be watched", () =>
  Effect.gen(function* () {
    const stream = new PassThrough()
    const closed = whenClosed(stream, Effect.succeed("closed"))
    assert.strictEqual(yield* raceLater(Effect.never, after(1, Effect.succeed("late")), closed), "late")
    assert.strictEqual(stream.listenerCount("close"), 0)
    stream.destroy()
    assert.strictEqual(yield* raceLater(Effect.never, after(60_000, Effect.succeed("late")), closed), "closed")
  })
)
