import { Cause, Deferred, Duration, Effect, Exit, FiberSet, Scope } from "effect"

/**
 * Dials several ways at once and keeps the first that works (RFC 8305 §5): each starts `stagger` after the one before, or
 * at once when that has failed. The winner lives in the caller's Scope; the others are interrupted and closed. Fails with
 * every failure, in the order of `dials`, when none works; a defect of one dial is a defect of the race.
 */
export const race = Effect.fnUntraced(function* <A, E, R>(
  dials: ReadonlyArray<Effect.Effect<A, E, R | Scope.Scope>>,
  stagger: Duration.Input
) {
  const owner = yield* Effect.scope
  const won = yield* Deferred.make<A>()
  const failures = new Map<number, E>()
  let decided = false

  const attempt = (dial: Effect.Effect<A, E, R | Scope.Scope>, index: number) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const exit = yield* Effect.exit(restore(dial.pipe(Effect.provideService(Scope.Scope, scope))))
        if (Exit.isSuccess(exit) && !decided) {
          decided = true
          yield* Scope.addFinalizer(owner, Scope.close(scope, Exit.void))
          yield* Deferred.succeed(won, exit.value)
          return
        }
        yield* Scope.close(scope, exit)
        if (Exit.isSuccess(exit)) return
        if (!Cause.hasFails(exit.cause)) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
        failures.set(index, Cause.squash(exit.cause) as E)
      })
    )

  const startAll = Effect.gen(function* () {
    const attempts = yield* FiberSet.make<void, never>()
    const start = Effect.gen(function* () {
      for (const [index, dial] of dials.entries()) {
        const over = yield* Deferred.make<void>()
        yield* FiberSet.run(attempts, attempt(dial, index).pipe(Effect.ensuring(Deferred.succeed(over, undefined))))
        if (index < dials.length - 1) yield* Effect.timeoutOption(Deferred.await(over), stagger)
      }
      yield* FiberSet.awaitEmpty(attempts)
      if (decided) return yield* Deferred.await(won)
      const inOrder = [...failures].sort(([a], [b]) => a - b).map(([, failure]) => failure)
      return yield* Effect.fail(inOrder)
    })
    return yield* Effect.raceFirst(start, FiberSet.join(attempts) as Effect.Effect<never>)
  }).pipe(Effect.scoped)

  return yield* Effect.raceFirst(Deferred.await(won), startAll)
})

/** How long the first carrier has for itself (RFC 8305 §8 names the same for addresses). */
const HEAD_START = Duration.millis(250)

/**
 * Races the carriers: each has a head start of 250 ms before the next one, which starts at once when it has failed.
 * Otherwise as `race`, with every failure of each.
 */
export const raceCarriers = <A, E, R>(carriers: ReadonlyArray<Effect.Effect<A, ReadonlyArray<E>, R | Scope.Scope>>) =>
  race(carriers, HEAD_START).pipe(Effect.mapError((failures) => failures.flat()))
