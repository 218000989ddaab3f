/**
 * The streams that an HTTP/2 client opens for its server to use, because the server cannot open any: a few wait to be
 * taken, more once they were in demand, and each one that is taken is replaced.
 */
import { FIRST_SPARE_STREAMS, MAX_SPARE_STREAMS } from "./limits.ts"

/** Whatever a server asks for; the limit of streams is lower. */
const MAX_OWED = 2 ** 16

export class StreamSupply {
  /** Opens one more; false when the other side allows none at the moment. */
  readonly #open: () => boolean
  #spare = 0
  #target = FIRST_SPARE_STREAMS
  /** What the server has asked for beyond the target. */
  #owed = 0

  constructor(open: () => boolean) {
    this.#open = open
  }

  /** The server asks for more than there are. What the limit of streams does not allow now comes when some end. */
  want(streams: number): void {
    this.#target = Math.min(MAX_SPARE_STREAMS, this.#target + streams)
    this.#owed = Math.min(MAX_OWED, this.#owed + streams)
    this.refill()
  }

  /** The server has taken one. */
  taken(): void {
    this.#spare--
    this.refill()
  }

  refill(): void {
    while ((this.#owed > 0 || this.#spare < this.#target) && this.#open()) {
      this.#spare++
      if (this.#owed > 0) this.#owed--
    }
  }

  get spare(): number {
    return this.#spare
  }
}
