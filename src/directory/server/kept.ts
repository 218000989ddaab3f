import { Effect, Schema } from "effect"
import { readState, writeState } from "../../internal/stateFile.ts"
import { DirectoryError, StateUnusable } from "../DirectoryError.ts"

/** What a file of a server's folder holds, made there when it is not there yet. */
export const kept = Effect.fnUntraced(function* <A, I>(path: string, schema: Schema.Codec<A, I>, make: () => A) {
  const unusable = (error: unknown) =>
    new DirectoryError({ reason: new StateUnusable({ path, detail: (error as Error).message.replace(/\s+/g, " ") }) })
  const state = yield* Effect.tryPromise({ try: () => readState(path), catch: unusable })
  if (state !== undefined) return yield* Schema.decodeUnknownEffect(schema)(state).pipe(Effect.mapError(unusable))
  const made = make()
  const written = yield* Schema.encodeEffect(schema)(made).pipe(Effect.orDie)
  yield* Effect.tryPromise({ try: () => writeState(path, written), catch: unusable })
  return made
})
