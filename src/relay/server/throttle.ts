/**
 * Bounds how fast the bytes of a link pass, in each direction: whoever took more than his share waits until it is made up
 * for. Plain Node, and only on the way of links that have a limit.
 */
import type { Duplex } from "node:stream"
import { WrappedStream } from "../../internal/WrappedStream.ts"

/** How much all streams of a link may pass in one direction. */
export interface Rate {
  /** Milliseconds to wait before so many bytes may go on. */
  readonly take: (bytes: number) => number
}

/** @param bytesPerSecond with at most as much at once as a tenth of a second is worth */
export const makeRate = (bytesPerSecond: number, now: () => number = () => performance.now()): Rate => {
  let paidUntil = now()
  return {
    take: (bytes) => {
      const at = now()
      paidUntil = Math.max(paidUntil, at - BURST_MILLIS) + (bytes * 1_000) / bytesPerSecond
      return Math.max(0, paidUntil - at)
    }
  }
}

const BURST_MILLIS = 100

/**
 * The same stream, slowed down. Ends, resets and errors pass in both directions as they are.
 *
 * @param reading for what is read from the stream
 * @param writing for what is written to it
 */
export const throttle = (inner: Duplex, reading: Rate, writing: Rate): Duplex => new Throttled(inner, reading, writing)

class Throttled extends WrappedStream {
  readonly #reading: Rate
  readonly #writing: Rate
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(inner: Duplex, reading: Rate, writing: Rate) {
    super(inner)
    this.#reading = reading
    this.#writing = writing
  }

  protected override receive(piece: Buffer, done: () => void): void {
    this.#after(this.#reading.take(piece.length), () => {
      this.deliver(piece)
      done()
    })
  }

  protected override endsHere(): undefined {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.#after(this.#writing.take(chunk.length), () => this.forward(chunk, written))
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
    super._destroy(error, destroyed)
  }

  #after(millis: number, go: () => void): void {
    if (millis === 0) {
      go()
      return
    }
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      go()
    }, millis)
    this.#timers.add(timer)
  }
}
