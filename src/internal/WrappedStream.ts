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
  #pulling = false
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
      if (!this.#innerDone()) this.#onInnerFailed(inner.errored ?? new Error(CLOSED_EARLY))
    })
    // What has happened already is not said again.
    if (inner.errored) process.nextTick(() => this.#onInnerFailed(inner.errored!))
    else if (inner.readableEnded) process.nextTick(() => this.#onInnerEnd())
    else if (inner.destroyed) process.nextTick(() => this.#onInnerFailed(new Error(CLOSED_EARLY)))
  }

  /** Takes a piece that came: pushes what it stands for, and calls `done`, or destroys this stream. */
  protected abstract receive(piece: Buffer, done: () => void): void

  /** Called at the end of the inner stream: an error when it may not end here. */
  protected abstract endsHere(): Error | undefined

  /** To be called by `receive` instead of `push`. */
  protected deliver(piece: Buffer): void {
    this.#wanted = this.push(piece)
  }

  /** Writes to the inner stream. An error of it waits, like any other one, until what had come whole is given out. */
  protected forward(chunk: Buffer, written: () => void): void {
    this.inner.write(chunk, this.#unless(written))
  }

  override _read(): void {
    this.#wanted = true
    this.#pull()
  }

  override _final(finished: (error?: Error | null) => void): void {
    this.inner.end(this.#unless(finished))
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    if (!this.#innerDone()) this.inner.destroy()
    destroyed(error)
  }

  /** A loop, because a piece that was received at once must not deepen the stack: thousands may wait. */
  #pull(): void {
    if (this.#pulling) return
    this.#pulling = true
    while (this.#wanted && !this.#busy && !this.destroyed) {
      const piece: Buffer | null = (this.inner as Readable).read()
      if (piece === null) break
      this.#busy = true
      this.receive(piece, this.#received)
    }
    this.#pulling = false
  }

  readonly #received = (): void => {
    this.#busy = false
    if (this.#innerEnded) this.#end()
    else this.#pull()
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

  /** What came whole is still given out, also a piece of it that is still being received. */
  #onInnerFailed(error: Error): void {
    if (this.#innerEnded && !this.readableEnded) this.once("end", () => this.destroy(error))
    else this.destroy(error)
  }

  #unless(done: () => void): (error?: Error | null) => void {
    return (error) => {
      if (error) this.#onInnerFailed(this.inner.errored ?? error)
      else done()
    }
  }

  #innerDone(): boolean {
    return this.inner.readableEnded && this.inner.writableFinished
  }
}

const CLOSED_EARLY = "the stream was closed before its end"
