/**
 * The notes that the two ends of a connection send each other on the first stream of the HTTP/2 client: eight bytes each,
 * two numbers. A stream number with a code: I stopped reading that stream. Zero with a number: I want so many streams.
 */
import type { Http2Stream } from "node:http2"
import { MAX_UNREAD_NOTES_BYTES } from "./limits.ts"

const NOTE_BYTES = 8

export interface ControlStreamOptions {
  readonly carrier: Http2Stream
  readonly stopped: (stream: number, code: number) => void
  readonly wanted: (streams: number) => void
  /** The stream ended, or its notes are not read: there is no connection without it. */
  readonly failed: () => void
}

export class ControlStream {
  readonly #carrier: Http2Stream
  readonly #options: ControlStreamOptions
  #rest: Buffer = Buffer.alloc(0)

  constructor(options: ControlStreamOptions) {
    this.#options = options
    this.#carrier = options.carrier
    this.#carrier
      .on("error", () => {})
      .on("data", (bytes: Buffer) => this.#read(bytes))
      .on("end", options.failed)
      .on("close", options.failed)
  }

  sendStop(stream: number, code: number): void {
    this.#send(stream, code)
  }

  want(streams: number): void {
    this.#send(0, streams)
  }

  #send(stream: number, value: number): void {
    const note = Buffer.allocUnsafe(NOTE_BYTES)
    note.writeUInt32BE(stream, 0)
    note.writeUInt32BE(value, 4)
    this.#carrier.write(note)
    if (this.#carrier.writableLength > MAX_UNREAD_NOTES_BYTES) this.#options.failed()
  }

  #read(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    let at = 0
    for (; all.length - at >= NOTE_BYTES; at += NOTE_BYTES) {
      const [stream, value] = [all.readUInt32BE(at), all.readUInt32BE(at + 4)]
      if (stream === 0) this.#options.wanted(value)
      else this.#options.stopped(stream, value)
    }
    this.#rest = Buffer.from(all.subarray(at))
  }
}
