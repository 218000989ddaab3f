/** What a relay remembers of its control server, so that it comes back as the same relay, and to the same server only. */
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { readState, writeState } from "../../internal/stateFile.ts"
import { RelayError, StateUnusable } from "../RelayError.ts"

export const Remembered = Schema.Struct({
  controlId: Schema.NonEmptyString,
  reconnectToken: Schema.Uint8ArrayFromHex
})
export type Remembered = typeof Remembered.Type

export interface RelayMemory {
  /** Where it is kept, for people. */
  readonly place: string
  /** Whether it outlives the process: only then another control server is refused. */
  readonly lasting: boolean
  readonly recall: Effect.Effect<Remembered | undefined, RelayError>
  readonly remember: (remembered: Remembered) => Effect.Effect<void, RelayError>
}

/** For as long as the process lives. */
export const inProcess = (): RelayMemory => {
  let remembered: Remembered | undefined
  return {
    place: "memory",
    lasting: false,
    recall: Effect.sync(() => remembered),
    remember: (now) =>
      Effect.sync(() => {
        remembered = now
      })
  }
}

/** In a file of this folder. */
export const inFolder = (folder: string): RelayMemory => {
  const place = join(folder, "relay.json")
  const unusable = (error: unknown) =>
    new RelayError({
      reason: new StateUnusable({ path: place, detail: (error as Error).message.replace(/\s+/g, " ") })
    })
  return {
    place,
    lasting: true,
    recall: Effect.gen(function* () {
      const state = yield* Effect.tryPromise({ try: () => readState(place), catch: unusable })
      if (state === undefined) return undefined
      return yield* Schema.decodeUnknownEffect(Remembered)(state).pipe(Effect.mapError(unusable))
    }),
    remember: Effect.fnUntraced(function* (remembered) {
      const state = yield* Schema.encodeEffect(Remembered)(remembered).pipe(Effect.orDie)
      yield* Effect.tryPromise({ try: () => writeState(place, state), catch: unusable })
    })
  }
}
