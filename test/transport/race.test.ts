import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { race } from "../../src/transport/race.ts"

/** A dial that takes a while, and writes down what happens to it. */
const dial = (log: Array<string>, name: string, millis: number, fails = false) =>
  Effect.gen(function* () {
    log.push(`${name} began`)
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push(`${name} closed`)))
    yield* Effect.sleep(millis)
    if (fails) return yield* Effect.fail(name)
    return name
  })

describe("race", () => {
  it.effect("keeps the first that works in the caller's Scope, and closes the others at once", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const scope = yield* Scope.make()
      const racing = yield* race([dial(log, "slow", 1_000), dial(log, "quick", 50), dial(log, "late", 10)], 100).pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.forkChild
      )
      yield* TestClock.adjust(150)
      assert.strictEqual(yield* Fiber.join(racing), "quick")
      assert.deepStrictEqual(log, ["slow began", "quick began", "slow closed"])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(log.at(-1), "quick closed")
    })
  )

  it.effect("starts the next at once when one fails", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const racing = yield* Effect.forkChild(race([dial(log, "a", 10, true), dial(log, "b", 10)], 1_000))
      yield* TestClock.adjust(20)
      assert.strictEqual(yield* Fiber.join(racing), "b")
    })
  )

  it.effect("fails with every failure, in the order of the dials", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const dials = [dial(log, "a", 300, true), dial(log, "b", 200, true), dial(log, "c", 10, true)]
      const racing = yield* Effect.forkChild(Effect.flip(race(dials, 50)))
      yield* TestClock.adjust(400)
      assert.deepStrictEqual(yield* Fiber.join(racing), ["a", "b", "c"])
      assert.lengthOf(
        log.filter((line) => line.endsWith("closed")),
        3
      )
    })
  )

  it.effect("keeps one of two that work at the same moment", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const racing = yield* Effect.forkChild(race([dial(log, "a", 100), dial(log, "b", 50)], 50))
      yield* TestClock.adjust(200)
      const winner = yield* Fiber.join(racing)
      assert.deepStrictEqual(log.slice(2), [`${winner === "a" ? "b" : "a"} closed`])
    }).pipe(Effect.scoped)
  )

  it.effect("closes all of them when it is interrupted", () =>
    Effect.gen(function* () {
      const log: Array<string> = []
      const racing = yield* Effect.forkChild(race([dial(log, "a", 1_000), dial(log, "b", 1_000)], 10))
      yield* TestClock.adjust(100)
      yield* Fiber.interrupt(racing)
      assert.sameMembers(log.slice(2), ["a closed", "b closed"])
    })
  )

  it.effect("without anything to dial it fails with nothing", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Effect.flip(race<never, string, never>([], 10)), [])
    })
  )

  it.effect("a defect of one dial is not hidden by others that hang", () =>
    Effect.gen(function* () {
      const racing = yield* Effect.forkChild(Effect.exit(race([Effect.never, Effect.die("broken")], 0)))
      yield* TestClock.adjust(10)
      const exit = yield* Fiber.join(racing)
      assert.isTrue(Exit.isFailure(exit) && Exit.hasDies(exit))
    })
  )
})
