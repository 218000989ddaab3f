/**
 * The streams that an HTTP/2 server may use as its own: its client has opened them ahead, and whoever has something to
 * say takes one. When there is none, the client is told how many are wanted.
 */
import type { Http2Stream } from "node:http2"
import type { TcpStream } from "./TcpStream.ts"

export class StreamPool {
  readonly #want: (streams: number) => void
  readonly #spare = new Set<Http2Stream>()
  readonly #waiting = new Set<TcpStream>()
  /** What was asked for and has not come yet. */
  #asked = 0
  #asking = false

  constructor(want: (streams: number) => void) {
    this.#want = want
  }

  /** A carrier, or undefined: then the stream waits for the next one that is offered. */
  take(stream: TcpStream): Http2Stream | undefined {
    for (const carrier of this.#spare) {
      this.#spare.delete(carrier)
      if (!carrier.closed && !carrier.destroyed) return carrier
    }
    this.#waiting.add(stream)
    this.#ask()
    return undefined
  }

  /** Whoever waits for a carrier does not need it any more. */
  withdraw(stream: TcpStream): void {
    this.#waiting.delete(stream)
  }

  /** The client has opened one: who has waited for it, if anybody has. */
  offer(carrier: Http2Stream): TcpStream | undefined {
    if (this.#asked > 0) this.#asked--
    const [stream] = this.#waiting
    if (stream === undefined) {
      this.#spare.add(carrier)
      carrier.once("close", () => this.#spare.delete(carrier))
    } else this.#waiting.delete(stream)
    return stream
  }

  clear(): void {
    this.#spare.clear()
    this.#waiting.clear()
  }

  /** Once for all who came in this turn of the event loop. */
  #ask(): void {
    if (this.#asking) return
    this.#asking = true
    setImmediate(() => {
      this.#asking = false
      const more = this.#waiting.size - this.#asked
      if (more <= 0) return
      this.#asked += more
      this.#want(more)
    })
  }
}
