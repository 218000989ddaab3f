/**
 * One stream as a Node Duplex, around the HTTP/2 stream that carries it. See `TransportStream` for what holds of it.
 *
 * The HTTP/2 stream (the carrier) comes with the first bytes, so that a stream which is never used costs nothing. Bytes
 * pass it by: what arrives for the carrier is pushed into this Duplex by a `push` of its own, and `_write` hands chunks to
 * the carrier's `_write`, so that each chunk goes through the machinery of one Node stream and not of two.
 *
 * What ends how, on the wire:
 * - `end()` is END_STREAM, and only a carrier that is neither closed nor destroyed can bring one: Node also says `null`
 *   for streams that were reset or lost.
 * - `reset` is RST_STREAM with the code, which takes the other direction along; so would the other side, because a reset
 *   destroys its stream.
 * - `stop` is a note on the control stream. What still comes is read and dropped, until the other side has finished.
 * - `destroy()` is the one or the other: a stream whose bytes are all sent is not reset, so they can still be read.
 */
import type { Http2Stream } from "node:http2"
import { Duplex } from "node:stream"
import { StreamReset, StreamStopped, type TransportStream } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import { fromWire, toWire } from "./codes.ts"
import { HIGH_WATER_BYTES } from "./limits.ts"

export type Written = (error?: Error | null) => void

export interface StreamOwner {
  /** Bytes that a stopped stream may still send. */
  readonly credit: { readonly streamBytes: number }
  /** The connection is at its end, of which its streams will be told. */
  readonly failing: boolean
  /** The carrier for a stream that has something to say; undefined when it will be attached later. */
  carry(stream: TcpStream): Http2Stream | undefined
  sendStop(carrier: Http2Stream, code: number): void
  release(stream: TcpStream): void
  carrierClosed(): void
}

export class TcpStream extends Duplex implements TransportStream {
  /** The number of the HTTP/2 stream, or 0 while there is none. */
  number = 0
  readonly #owner: StreamOwner
  #carrier: Http2Stream | undefined
  /** Nothing more will be read: the end came, or the half was given up. */
  #readDone = false
  /** Nothing more will be written: finished, reset, or the other side stopped reading. */
  #writeDone = false
  #stopped: StreamStopped | undefined
  /** The code with which we stopped reading, so that no end will come that could close the stream. */
  #unread: number | undefined
  /** The write that is under way: Node asks for one at a time. */
  #written: Written | undefined
  /** The same, while it waits for a carrier. */
  #deferred: (() => void) | undefined

  constructor(owner: StreamOwner) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES })
    this.#owner = owner
    // Nobody may be listening yet, or any more, when the other side gives up: that must not end the process.
    this.on("error", ignore)
  }

  /** Gives the stream its carrier. What has arrived there before is taken over. */
  attach(carrier: Http2Stream): void {
    this.#carrier = carrier
    this.number = carrier.id ?? 0
    carrier.on("error", ignore)
    carrier.once("close", () => this.#carrierClosed(carrier.rstCode ?? 0))
    for (let chunk = carrier.read(); chunk !== null; chunk = carrier.read()) this.push(chunk)
    // The end has come, but is yet to be said.
    if (!carrier.readable) this.#arrived(carrier, null)
    else carrier.once("end", () => this.#arrived(carrier, null))
    carrier.push = (chunk) => this.#arrived(carrier, chunk)
    // Also for those who will not read: a stream of a server that was never read is closed by Node once it is finished.
    carrier._read(0)
    if (this.#unread !== undefined) this.#stopCarrier(carrier, this.#unread)
    const deferred = this.#deferred
    this.#deferred = undefined
    deferred?.()
  }

  reset(code: number): void {
    if (this.#writeDone) return
    this.#writeDone = true
    if (this.#carrier !== undefined) resetCarrier(this.#carrier, code)
  }

  stop(code: number): void {
    if (this.#readDone) return
    this.#readDone = true
    this.#unread = code
    if (this.#carrier !== undefined) this.#stopCarrier(this.#carrier, code)
    if (this.writableFinished) this.destroy()
  }

  override _read(size: number): void {
    if (!this.#readDone) this.#carrier?._read(size)
  }

  override _write(chunk: Buffer, encoding: BufferEncoding, written: Written): void {
    this.#written = written
    const carrier = this.#writable()
    if (carrier !== undefined) carrier._write(chunk, encoding, this.#wrote)
    else this.#deferred = () => this._write(chunk, encoding, written)
  }

  override _writev(chunks: Array<{ chunk: Buffer; encoding: BufferEncoding }>, written: Written): void {
    this.#written = written
    const carrier = this.#writable()
    if (carrier !== undefined) carrier._writev!(chunks, this.#wrote)
    else this.#deferred = () => this._writev(chunks, written)
  }

  override _final(finished: Written): void {
    this.#written = finished
    if (!this.#writeDone) {
      const carrier = this.#writable()
      if (carrier === undefined) {
        this.#deferred = () => this._final(finished)
        return
      }
      this.#writeDone = true
      carrier.end()
    }
    this.#wrote()
    if (this.#unread !== undefined) this.destroy()
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    const carrier = this.#carrier
    this.#carrier = undefined
    if (carrier !== undefined) {
      if (!this.#writeDone) resetCarrier(carrier, 0)
      else if (!this.#readDone) this.#stopCarrier(carrier, 0)
    }
    this.#writeDone = true
    this.#readDone = true
    this.#owner.release(this)
    destroyed(error)
    this.#deferred = undefined
    const written = this.#written
    this.#written = undefined
    written?.(error ?? new Error("the stream was destroyed"))
  }

  /** The other side does not read any more. What it sent before can still be read; then the stream is destroyed. */
  deliverStop(code: number): void {
    if (this.#stopped !== undefined || this.destroyed || this.#writeDone) return
    this.#writeDone = true
    this.#stopped = new StreamStopped(code)
    this.#carrier?.end()
    this.emit("stop", code)
    if (!this.#readDone) return
    if (this.readableEnded || this.#unread !== undefined) this.destroy(this.#stopped)
    else this.once("end", () => this.destroy(this.#stopped))
  }

  /** The connection ended. A stream that is done on both halves is left to be read. */
  connectionEnded(error: TransportError): void {
    this.#carrier = undefined
    if (this.#readDone && this.#writeDone && this.#stopped === undefined) return
    this.#readDone = true
    this.#writeDone = true
    this.destroy(error)
  }

  /** A carrier that fails says so first to its last write; why is known once it has closed. */
  readonly #wrote: Written = (error) => {
    if (error) return
    const written = this.#written
    this.#written = undefined
    written?.()
  }

  #writable(): Http2Stream | undefined {
    if (this.#writeDone) return undefined
    if (this.#carrier !== undefined) return this.#carrier
    const carrier = this.#owner.carry(this)
    if (carrier !== undefined) this.attach(carrier)
    return carrier
  }

  /** In place of the carrier's `push`: false asks it to wait until `_read`. */
  #arrived(carrier: Http2Stream, chunk: Buffer | null): boolean {
    if (chunk !== null) return this.#readDone ? true : this.push(chunk)
    if (carrier.destroyed) return false
    if (carrier.closed) process.nextTick(release, carrier)
    else this.#ended()
    return false
  }

  /** The other side finished its write half. */
  #ended(): void {
    if (this.#readDone) return
    this.#readDone = true
    if (this.#stopped !== undefined) this.once("end", () => this.destroy(this.#stopped))
    this.push(null)
  }

  /** The carrier is gone: done on both halves, or reset. */
  #carrierClosed(code: number): void {
    this.#owner.carrierClosed()
    if (this.#carrier === undefined) return
    this.#carrier = undefined
    if (this.#owner.failing) return
    if (!this.#readDone) this.destroy(new StreamReset(fromWire(code) ?? 0))
    else if (!this.#writeDone) this.destroy(new StreamStopped(fromWire(code) ?? 0))
  }

  #stopCarrier(carrier: Http2Stream, code: number): void {
    this.#owner.sendStop(carrier, code)
    let left = 2 * this.#owner.credit.streamBytes
    carrier.push = (chunk) => {
      if (chunk === null) {
        if (carrier.closed) process.nextTick(release, carrier)
        return false
      }
      left -= chunk.length
      if (left < 0) resetCarrier(carrier, 0)
      return left >= 0
    }
    carrier._read(0)
  }
}

const ignore = (): void => {}

/** Not at once: Node is in the middle of closing it. */
const release = (carrier: Http2Stream): void => {
  carrier.destroy()
}

/** Node would end the stream first, and a reset must not look like an end. */
export const resetCarrier = (carrier: Http2Stream, code: number): void => {
  carrier.end = () => carrier
  carrier.close(toWire(code))
}
