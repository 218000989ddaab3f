import type { Duplex } from "node:stream"

/** What can be reset in its own way (a TCP socket: RST instead of FIN). */
interface Resettable {
  resetAndDestroy?(): unknown
  /** A socket of TLS inherits the method, and throws, unless it was given one (`resettable`). */
  readonly encrypted?: boolean
}

/** Ends a stream so that the other end notices that it was cut short. */
export const abort = (side: Duplex, error?: Error): void => {
  if (side.destroyed) return
  const { resetAndDestroy, encrypted } = side as Resettable
  if (resetAndDestroy === undefined || (encrypted && !Object.hasOwn(side, "resetAndDestroy"))) side.destroy(error)
  // While its FIN is on the way a socket cannot be reset, and Node would neither close it nor say so.
  else if (isFinishing(side)) side.once("finish", () => abort(side, error))
  else {
    try {
      resetAndDestroy.call(side)
    } catch {
      // A Unix domain socket: it has the method, but nothing to tell the other end by.
      side.destroy(error)
    }
  }
}

/** Everything was handed to the system, and the end of the write half as well, which has not confirmed it yet. */
const isFinishing = (side: Duplex): boolean => side.writableEnded && side.writableLength === 0 && !side.writableFinished
