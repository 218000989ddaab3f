import type { Duplex } from "node:stream"
import { Effect } from "effect"
import { splice } from "./splice.ts"

/** Carries bytes between two streams until both are done; cuts both when interrupted. */
export const join = (a: Duplex, b: Duplex): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const cut = splice(a, b, () => resume(Effect.void))
    return Effect.sync(cut)
  })
