import type { Duplex } from "node:stream"
import { Effect, Exit, type Scope } from "effect"

/** Opens a stream for a use that may fail: then nothing is left of it. Otherwise it is destroyed with the Scope. */
export const openFor = <S extends Duplex, E, R, A, E2, R2>(
  open: Effect.Effect<S, E, R>,
  use: (stream: S) => Effect.Effect<A, E2, R2>
): Effect.Effect<A, E | E2, R | R2 | Scope.Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(open), (stream) => {
      const destroyed = Effect.sync(() => stream.destroy())
      return Effect.flatMap(Effect.exit(restore(use(stream))), (exit) =>
        Effect.andThen(Exit.isSuccess(exit) ? Effect.addFinalizer(() => destroyed) : destroyed, exit)
      )
    })
  )
