/**
 * Joins two streams so that what comes out of one goes into the other, both ways, until both are done. Plain Node: no
 * byte passes through anything else.
 *
 * - An end is passed on as an end, and the other direction goes on (half-close).
 * - A reset, an error or a lost connection of one side resets the other: never a silent end.
 * - A side that only stopped reading gets no more, and what it had sent is delivered to its last byte.
 * - Whoever does not read is not read for (back-pressure).
 */
import type { Duplex } from "node:stream"
import { abort } from "./abort.ts"

/**
 * @param done called once when both streams are closed, with the first error if there was one
 * @returns cuts the connection on both sides
 */
export const splice = (a: Duplex, b: Duplex, done: (error: Error | undefined) => void): (() => void) => {
  let open = 2
  let failure: Error | undefined

  const closed = () => {
    open--
    if (open === 0) done(failure)
  }
  const watch = (side: Duplex, other: Duplex) => {
    const onError = (error: Error) => {
      failure ??= error
      if (hasStopped(error)) finish(other)
      else abort(other, error)
    }
    side.on("error", onError)
    const onClose = () => {
      // Closed without an error, and yet before its end: somebody destroyed it.
      if (!hasStopped(side.errored) && !(side.readableEnded && side.writableFinished)) abort(other, failure)
      closed()
    }
    // It may be gone already, and will not say so again.
    if (side.errored) onError(side.errored)
    if (side.closed) process.nextTick(onClose)
    else side.once("close", onClose)
  }
  watch(a, b)
  watch(b, a)
  a.pipe(b)
  b.pipe(a)
  return () => {
    abort(a)
    abort(b)
  }
}

/** Recognised by its name: a splice does not know transports. */
const hasStopped = (error: Error | null): boolean => error?.name === "StreamStopped"

/** Closes after what was written has gone out. */
const finish = (side: Duplex): void => {
  if (side.destroyed) return
  if (side.writableFinished) side.destroy()
  else side.end(() => side.destroy())
}
