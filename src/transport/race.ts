import { Cause, Deferred, type Duration, Effect, Exit, FiberSet, Scope } from "effect"

/**
 * Dials several ways at once and keeps the first that works (RFC 8305 §5): each starts `stagger` after the one before, or
 * at once when that has failed. The winner lives in the caller's Scope; the others are interrupted and closed. Fails with
 * every failure, in the order of `dials`, when none works.
 */
export const race = Effect.fnUntraced(function* <A, E, R>(
  dials: ReadonlyArray<Effect.Effect<A, E, R | Scope.Scope>>,
  stagger: Duration.Input
) {
  const owner = yield* Effect.scope
  const won = yield* Deferred.make<A>()
  const failures: Array<E> = []

  const attempt = (dial: Effect.Effect<A, E, R | Scope.Scope>, index: number) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const exit = yield* Effect.exit(restore(dial.pipe(Effect.provideService(Scope.Scope, scope))))
        if (Exit.isSuccess(exit) && !(yield* Deferred.isDone(won))) {
          yield* Scope.addFinalizer(owner, Scope.close(scope, Exit.void))
          yield* Deferred.succeed(won, exit.value)
          return
        }
        yield* Scope.close(scope, exit)
        if (Exit.isSuccess(exit)) return
        if (!Cause.hasFails(exit.cause)) return yield* Effect.failCause(exit.cause as Cause.Cause<never>)
        failures[index] = Cause.squash(exit.cause) as E
      })
    )

  const startAll = Effect.gen(function* () {
    const attempts = yield* FiberSet.make<void, never>()
    for (const [index, dial] of dials.entries()) {
      const failed = yield* Deferred.make<void>()
      yield* FiberSet.run(attempts, attempt(dial, index).pipe(Effect.ensuring(Deferred.succeed(failed, undefined))))
      if (index < dials.length - 1) yield* Effect.raceFirst(Effect.sleep(stagger), Deferred.await(failed))
    }
    yield* FiberSet.awaitEmpty(attempts)
    if (yield* Deferred.isDone(won)) return yield* Deferred.await(won)
    return yield* Effect.fail(failures)
  }).pipe(Effect.scoped)

  return yield* Effect.raceFirst(Deferred.await(won), startAll)
})
