/**
 * One bidirectional QUIC stream as a Node Duplex. It holds what Node needs to know; its connection moves the bytes.
 *
 * Each half is open until it is finished (`end`), given up (reset by the writer, stopped by the reader), or the
 * connection ends. The stream gets its number with its first bytes, because a number that is never used would count
 * against the other side's limit for good.
 */
import { Duplex } from "node:stream"
import { StreamReset, StreamStopped, type TransportStream } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"

/** What a Duplex buffers in each direction before it pushes back, in bytes: one full-sized chunk of the splice. */
const HIGH_WATER_BYTES = 64 * 1024

export interface StreamOwner {
  wantRead(stream: QuicStream): void
  write(stream: QuicStream, chunk: Uint8Array, written: WriteCallback): void
  finish(stream: QuicStream, finished: WriteCallback): void
  giveUpWrite(stream: QuicStream, code: number): void
  giveUpRead(stream: QuicStream, code: number): void
  release(stream: QuicStream): void
}

export type WriteCallback = (error?: Error | null) => void

export interface PendingWrite {
  chunk: Uint8Array
  written: WriteCallback
}

export class QuicStream extends Duplex implements TransportStream {
  /** The QUIC stream number, or -1 while nothing was sent yet. */
  number: number
  /** The consumer has room. */
  wantsData = false
  /** Nothing more will be read: the end came, or the half was given up. */
  readDone = false
  /** Nothing more will be written: finished, reset, or the other side stopped reading. */
  writeDone = false
  /** Which write of the connection was the last one for this stream; 0 when there was none. */
  lastWrite = 0
  /** When its end was sent, until that is known to have arrived. */
  endSentAt: number | undefined
  /** What did not fit into the connection's send buffer yet. */
  pending: PendingWrite | undefined
  #stopped: StreamStopped | undefined
  /** We stopped reading, so that no end will come that could close the stream. */
  #unread = false
  readonly #owner: StreamOwner

  constructor(owner: StreamOwner, number: number) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES })
    this.#owner = owner
    this.number = number
    // Nobody may be listening yet, or any more, when the other side gives up: that must not end the process.
    this.on("error", () => {})
  }

  reset(code: number): void {
    if (this.writeDone) return
    this.#owner.giveUpWrite(this, code)
  }

  stop(code: number): void {
    if (this.readDone) return
    this.#unread = true
    this.#owner.giveUpRead(this, code)
    if (this.writableFinished) this.destroy()
  }

  override _read(): void {
    if (this.wantsData || this.readDone) return
    this.wantsData = true
    this.#owner.wantRead(this)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: WriteCallback): void {
    this.#owner.write(this, chunk, written)
  }

  override _final(finished: WriteCallback): void {
    this.#owner.finish(this, (error) => {
      finished(error)
      if (this.#unread) this.destroy()
    })
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    this.#owner.release(this)
    destroyed(error)
    this.#settlePending(error)
  }

  /** Hands received bytes to the consumer. */
  deliver(bytes: Uint8Array): void {
    if (!this.push(bytes)) this.wantsData = false
  }

  /** The other side finished its write half. */
  deliverEnd(): void {
    this.readDone = true
    this.wantsData = false
    if (this.#stopped !== undefined) this.once("end", () => this.destroy(this.#stopped))
    this.push(null)
  }

  /** The other side gave up its write half. */
  deliverReset(code: number): void {
    this.readDone = true
    this.destroy(new StreamReset(code))
  }

  /** The other side does not read any more. What it sent before can still be read; then the stream is destroyed. */
  deliverStop(code: number): void {
    if (this.#stopped !== undefined || this.destroyed) return
    this.writeDone = true
    this.#stopped = new StreamStopped(code)
    this.emit("stop", code)
    if (!this.readDone) return
    if (this.readableEnded) this.destroy(this.#stopped)
    else this.once("end", () => this.destroy(this.#stopped))
  }

  /** The connection ended. A stream that is done on both halves is left to be read. */
  connectionEnded(error: TransportError): void {
    if (this.readDone && this.writeDone && this.#stopped === undefined) return
    this.readDone = true
    this.writeDone = true
    this.destroy(error)
  }

  #settlePending(error: Error | null): void {
    const written = this.pending?.written
    this.pending = undefined
    written?.(error ?? new Error("the stream was destroyed"))
  }
}
