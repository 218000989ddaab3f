import type { Duplex } from "node:stream"

/** What can be reset in its own way (a TCP socket: RST instead of FIN). */
interface Resettable {
  resetAndDestroy?(): unknown
  /** A socket of TLS inherits the method, and throws: it has no connection of its own to reset. */
  readonly encrypted?: boolean
}

/** Ends a stream so that the other end notices that it was cut short. */
export const abort = (side: Duplex, error?: Error): void => {
  if (side.destroyed) return
  const { resetAndDestroy, encrypted } = side as Resettable
  if (resetAndDestroy === undefined || encrypted) side.destroy(error)
  // While its FIN is on the way a socket cannot be reset, and Node would neither close it nor say so.
  else if (isFinishing(side)) side.once("finish", () => abort(side, error))
  else resetAndDestroy.call(side)
}

/** Everything was handed to the system, and the end of the write half as well, which has not confirmed it yet. */
const isFinishing = (side: Duplex): boolean => side.writableEnded && side.writableLength === 0 && !side.writableFinished
