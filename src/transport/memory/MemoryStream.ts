/** One end of a stream within the process: what is written here is read at the other end. See `TransportStream`. */
import { Duplex } from "node:stream"
import { StreamReset, StreamStopped, type TransportStream } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"

const HIGH_WATER_BYTES = 64 * 1024

type Written = (error?: Error | null) => void

export interface MemoryStreamOwner {
  /** Runs `deliver` when the link lets it through, in order. */
  carry(deliver: () => void): void
  sent(bytes: number): void
  /** The stream has something to say for the first time. */
  begin(stream: MemoryStream): void
  release(stream: MemoryStream): void
}

export class MemoryStream extends Duplex implements TransportStream {
  readonly #owner: MemoryStreamOwner
  #other: MemoryStream | undefined
  #begun = false
  #readDone = false
  #writeDone = false
  #stopped: StreamStopped | undefined
  /** We stopped reading, so that no end will come that could close the stream. */
  #unread = false
  /** A write of the other end that waits until there is room here. */
  #waiting: Written | undefined
  /** A write of our own that will not be answered any more. */
  #held: Written | undefined

  private constructor(owner: MemoryStreamOwner, begun: boolean) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES })
    this.#owner = owner
    this.#begun = begun
    this.on("error", () => {})
  }

  /** Two ends of one stream; the first is the opener's. */
  static pair(opener: MemoryStreamOwner, acceptor: MemoryStreamOwner): readonly [MemoryStream, MemoryStream] {
    const [a, b] = [new MemoryStream(opener, false), new MemoryStream(acceptor, true)]
    a.#other = b
    b.#other = a
    return [a, b]
  }

  get other(): MemoryStream {
    return this.#other!
  }

  reset(code: number): void {
    if (this.#writeDone) return
    this.#writeDone = true
    this.#say((other) => other.#onReset(code))
  }

  stop(code: number): void {
    if (this.#readDone) return
    this.#readDone = true
    this.#unread = true
    this.#say((other) => other.#onStop(code))
    this.#accepted()
    if (this.writableFinished) this.destroy()
  }

  override _read(): void {
    this.#accepted()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: Written): void {
    if (this.#writeDone) this.#held = written
    else {
      this.#owner.sent(chunk.length)
      this.#say((other) => other.#onData(chunk, written))
    }
  }

  override _final(finished: Written): void {
    if (!this.#writeDone) {
      this.#writeDone = true
      this.#say((other) => other.#onEnd())
    }
    finished()
    if (this.#unread) this.destroy()
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    if (this.#begun) {
      this.reset(0)
      this.stop(0)
    }
    this.#writeDone = true
    this.#readDone = true
    this.#accepted()
    this.#owner.release(this)
    destroyed(error)
    const held = this.#held
    this.#held = undefined
    held?.(error ?? new Error("the stream was destroyed"))
  }

  /** The connection ended. */
  connectionEnded(error: TransportError): void {
    if (this.#readDone && this.#writeDone && this.#stopped === undefined) return
    this.#begun = false
    this.destroy(error)
  }

  #say(deliver: (other: MemoryStream) => void): void {
    if (!this.#begun) {
      this.#begun = true
      this.#owner.begin(this)
    }
    this.#owner.carry(() => deliver(this.other))
  }

  /** Lets the write of the other end go on that was waiting for room here. */
  #accepted(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.()
  }

  #onData(chunk: Buffer, written: Written): void {
    if (this.#readDone || this.destroyed) {
      written()
      return
    }
    if (this.push(chunk)) written()
    else this.#waiting = written
  }

  #onEnd(): void {
    if (this.#readDone) return
    this.#readDone = true
    this.push(null)
    if (this.#stopped !== undefined) this.once("end", () => this.destroy(this.#stopped))
  }

  #onReset(code: number): void {
    if (this.#readDone) return
    this.#readDone = true
    this.destroy(new StreamReset(code))
  }

  #onStop(code: number): void {
    if (this.#stopped !== undefined || this.destroyed || this.#writeDone) return
    this.#writeDone = true
    this.#stopped = new StreamStopped(code)
    this.emit("stop", code)
    if (this.readableEnded) this.destroy(this.#stopped)
    else if (this.#readDone) this.once("end", () => this.destroy(this.#stopped))
  }
}
