import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope, Stream, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { HEALTHY, type Health, nextTask, probing, seen, told } from "../../../src/endpoint/destination/Health.ts"
import { watchHealth } from "../../../src/endpoint/destination/watchHealth.ts"
import { EndpointError, ServiceUnreachable, UserGone } from "../../../src/endpoint/EndpointError.ts"

const REFUSED = new EndpointError({ reason: new ServiceUnreachable({ address: "127.0.0.1:1", code: "ECONNREFUSED" }) })

describe("the health of a service", () => {
  it("costs nothing as long as it is reached", () => {
    assert.strictEqual(seen(HEALTHY, true, 5), HEALTHY)
    assert.isUndefined(nextTask(HEALTHY))
  })

  it("is told at once when a dial fails, when one gets through not before a second later, and what is known is not told again", () => {
    const failed = seen(HEALTHY, false, 100)
    assert.deepStrictEqual(nextTask(failed), { _tag: "Tell", at: 0 })
    const recovered = seen(told(failed, 100), true, 150)
    assert.deepStrictEqual(nextTask(recovered), { _tag: "Tell", at: 1_100 })
    const again = seen(recovered, false, 200)
    assert.deepStrictEqual(nextTask(again), { _tag: "Probe", at: 1_200 })
  })

  it("is probed after a second, then half as often each time, and at least twice a minute", () => {
    let health: Health = told(seen(HEALTHY, false, 0), 0)
    const pauses: Array<number> = []
    let now = 0
    for (let time = 0; time < 8; time++) {
      const task = nextTask(health)
      assert.strictEqual(task?._tag, "Probe")
      pauses.push((task?.at ?? 0) - now)
      now = task?.at ?? 0
      health = seen(probing(health, now), false, now)
    }
    assert.deepStrictEqual(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it("is not asked for later because users go on trying", () => {
    const down = told(seen(HEALTHY, false, 0), 0)
    assert.strictEqual(seen(down, false, 900), down)
  })
})

/** A watch over a service that is there or not, with all that it has told and how often it has probed. */
const watching = Effect.gen(function* () {
  let there = false
  let probes = 0
  const tellings: Array<boolean> = []
  const scope = yield* Scope.make()
  const dial = Effect.suspend(() => (there ? Effect.void : Effect.fail(REFUSED)))
  const probe = Effect.suspend(() => {
    probes++
    return dial
  })
  const { down, watched } = yield* watchHealth(probe).pipe(Effect.provideService(Scope.Scope, scope))
  yield* SubscriptionRef.changes(down).pipe(
    Stream.drop(1),
    Stream.runForEach((isDown) => Effect.sync(() => tellings.push(isDown))),
    Effect.forkIn(scope)
  )
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  yield* TestClock.adjust(0)
  return {
    tellings,
    probes: () => probes,
    comes: () => {
      there = true
    },
    goes: () => {
      there = false
    },
    user: Effect.ignore(watched(dial)),
    watched,
    stop: Scope.close(scope, Exit.void)
  }
})

describe("the watch over a service", () => {
  it.effect("tells that it is down, probes it with growing pauses, tells that it is back, and probes no more", () =>
    Effect.gen(function* () {
      const { tellings, probes, comes, user } = yield* watching
      yield* user
      yield* TestClock.adjust("0 seconds")
      assert.deepStrictEqual([tellings, probes()], [[true], 0])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(probes(), 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(probes(), 2)
      comes()
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual([tellings, probes()], [[true, false], 3])
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(probes(), 3)
    })
  )

  it.effect("never probes a service that nobody has found down", () =>
    Effect.gen(function* () {
      const { tellings, probes, comes, user } = yield* watching
      comes()
      yield* user
      yield* TestClock.adjust("5 minutes")
      assert.deepStrictEqual([tellings, probes()], [[], 0])
    })
  )

  it.effect("tells at most once a second, however often the service comes and goes", () =>
    Effect.gen(function* () {
      const { tellings, comes, goes, user } = yield* watching
      for (let time = 0; time < 100; time++) {
        goes()
        yield* user
        yield* TestClock.adjust("50 millis")
        comes()
        yield* user
        yield* TestClock.adjust("50 millis")
      }
      assert.isAtLeast(tellings.length, 2)
      assert.isAtMost(tellings.length, 11)
    })
  )

  it.effect("takes the success of a user for the end of it, without a probe", () =>
    Effect.gen(function* () {
      const { tellings, probes, comes, user } = yield* watching
      yield* user
      yield* TestClock.adjust("999 millis")
      comes()
      yield* user
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([tellings, probes()], [[true, false], 0])
    })
  )

  it.effect("does not blame the service for a user who has gone, and ends with its Scope", () =>
    Effect.gen(function* () {
      const { tellings, probes, watched, user, stop } = yield* watching
      yield* Effect.ignore(watched(Effect.fail(new EndpointError({ reason: new UserGone() }))))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual([tellings, probes()], [[], 0])
      yield* user
      yield* stop
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(probes(), 0)
    })
  )
})
