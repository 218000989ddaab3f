/**
 * A stream around another one: what comes out of the inner one passes through `receive`, what is written goes through
 * `_write` of the subclass. Back-pressure, ends, errors and resets pass in both directions. Plain Node.
 */
import { Duplex, type Readable } from "node:stream"

export abstract class WrappedStream extends Duplex {
  protected readonly inner: Duplex
  #wanted = false
  /** A piece that came is being received. */
  #busy = false
  #innerEnded = false
  #ended = false

  constructor(inner: Duplex) {
    super({ allowHalfOpen: true })
    this.inner = inner
    // The other side can cause one at any time, also while nobody listens yet.
    this.on("error", () => {})
    inner.on("readable", () => this.#pull())
    inner.on("end", () => this.#onInnerEnd())
    inner.on("error", (error) => this.#onInnerFailed(error))
    inner.on("close", () => {
      if (!this.#innerDone()) this.#onInnerFailed(inner.errored ?? new Error("the stream was closed before its end"))
    })
    // What has happened already is not said again.
    if (inner.errored) process.nextTick(() => this.#onInnerFailed(inner.errored!))
    else if (inner.readableEnded) process.nextTick(() => this.#onInnerEnd())
  }

  /** Takes a piece that came: pushes what it stands for, and calls `done`, or destroys this stream. */
  protected abstract receive(piece: Buffer, done: () => void): void

  /** Called at the end of the inner stream: an error when it may not end here. */
  protected abstract endsHere(): Error | undefined

  /** To be called by `receive` instead of `push`. */
  protected deliver(piece: Buffer): void {
    this.#wanted = this.push(piece)
  }

  override _read(): void {
    this.#wanted = true
    this.#pull()
  }

  override _final(finished: (error?: Error | null) => void): void {
    this.inner.end(finished)
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    if (!this.#innerDone()) this.inner.destroy()
    destroyed(error)
  }

  #pull(): void {
    if (!this.#wanted || this.#busy || this.destroyed) return
    const piece: Buffer | null = (this.inner as Readable).read()
    if (piece === null) return
    this.#busy = true
    this.receive(piece, () => {
      this.#busy = false
      if (this.#innerEnded) this.#end()
      else this.#pull()
    })
  }

  #onInnerEnd(): void {
    this.#innerEnded = true
    if (!this.#busy) this.#end()
  }

  #end(): void {
    if (this.#ended || this.destroyed) return
    const error = this.endsHere()
    if (error !== undefined) {
      this.destroy(error)
      return
    }
    this.#ended = true
    this.push(null)
  }

  /** What came whole is still given out. */
  #onInnerFailed(error: Error): void {
    if (this.#ended && !this.readableEnded) this.once("end", () => this.destroy(error))
    else this.destroy(error)
  }

  #innerDone(): boolean {
    return this.inner.readableEnded && this.inner.writableFinished
  }
}
