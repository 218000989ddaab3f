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

/** What can be reset in its own way (a TCP socket: RST instead of FIN). */
interface Resettable {
  resetAndDestroy?(): unknown
}

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
    side.on("error", (error) => {
      failure ??= error
      if (error.name === "StreamStopped") finish(other)
      else abort(other, error)
    })
    side.once("close", () => {
      // Closed without an error, and yet before its end: somebody destroyed it.
      if (!side.readableEnded || !side.writableFinished) abort(other, failure)
      closed()
    })
  }
  watch(a, b)
  watch(b, a)
  a.pipe(b)
  b.pipe(a)
  if (a.destroyed) abort(b, undefined)
  if (b.destroyed) abort(a, undefined)
  return () => {
    abort(a, undefined)
    abort(b, undefined)
  }
}

const abort = (side: Duplex, error: Error | undefined): void => {
  if (side.destroyed) return
  const { resetAndDestroy } = side as Resettable
  if (resetAndDestroy !== undefined) resetAndDestroy.call(side)
  else side.destroy(error)
}

/** Closes after what was written has gone out. */
const finish = (side: Duplex): void => {
  if (side.destroyed) return
  if (side.writableFinished) side.destroy()
  else side.end(() => side.destroy())
}
