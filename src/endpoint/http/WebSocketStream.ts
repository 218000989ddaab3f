/**
 * The bytes in the messages of a WebSocket, as a stream: what comes in as text or binary comes out as bytes, what is written
 * goes out in binary messages.
 *
 * - A WebSocket has no half-close. After our end it is closed; what is under way of the other side may be lost.
 * - When the user closes it, everything that he sent before is given out, then an end; what is written then has no reader,
 *   and fails as `StreamStopped`.
 * - A connection that breaks is an error, never an end, and so for the user: no closing handshake.
 */
import { Duplex } from "node:stream"
import type { RawData, WebSocket } from "ws"

export class WebSocketStream extends Duplex {
  readonly #socket: WebSocket
  #closed = false
  /** A write that nobody reads any more, until what had come is given out. */
  #unread: ((error: Error) => void) | undefined

  constructor(socket: WebSocket) {
    super({ allowHalfOpen: true, readableHighWaterMark: PIECE, writableHighWaterMark: PIECE })
    this.#socket = socket
    this.on("error", () => {})
    this.once("end", () => this.#unread?.(new Stopped()))
    socket.on("message", (message: RawData) => {
      // Not asked for as anything else.
      if (!this.push(message as Buffer)) socket.pause()
    })
    socket.on("error", (error) => this.destroy(error))
    socket.on("close", (code) => {
      this.#closed = true
      if (code === ABNORMAL) this.destroy(new Error("the WebSocket was cut"))
      else this.push(null)
    })
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: (error?: Error | null) => void): void {
    if (this.#socket.readyState === this.#socket.OPEN) {
      this.#socket.send(chunk, { binary: true }, (error) => written(error && this.#stopped(error)))
    } else if (this.readableEnded) written(new Stopped())
    else this.#unread = written
  }

  override _final(finished: () => void): void {
    if (this.#closed) finished()
    else {
      this.#socket.once("close", () => finished())
      this.#socket.close(NORMAL)
    }
  }

  override _destroy(error: Error | null, destroyed: (error: Error | null) => void): void {
    if (!this.#closed) this.#socket.terminate()
    this.#unread?.(error ?? new Stopped())
    destroyed(error)
  }

  /** The user has closed while we wrote. */
  #stopped(error: Error): Error {
    return this.#socket.readyState === this.#socket.OPEN ? error : new Stopped()
  }
}

class Stopped extends Error {
  override readonly name = "StreamStopped"

  constructor() {
    super("the user has closed the WebSocket")
  }
}

const PIECE = 65_536
const NORMAL = 1_000
/** There was no closing handshake (RFC 6455 §7.1.5). */
const ABNORMAL = 1_006
