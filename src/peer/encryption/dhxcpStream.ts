/**
 * The bytes of a `dhxcp` stream: frames of a length (2 bytes, big-endian) and as many bytes of ChaCha20-Poly1305
 * (RFC 8439), numbered from 0 in each direction. Plain Node.
 */
import { createCipheriv, createDecipheriv } from "node:crypto"
import type { Duplex } from "node:stream"
import { WrappedStream } from "../../internal/WrappedStream.ts"
import { StreamForged } from "./EncryptionError.ts"

const CIPHER = "chacha20-poly1305"
const LENGTH_BYTES = 2
const TAG_BYTES = 16
const NONCE_BYTES = 12
/** What upstream puts into one frame at most, and what it takes. */
const MAX_WRITTEN = 65_517
const EMPTY = Buffer.alloc(0)

export interface DhxcpOptions {
  readonly send: Uint8Array
  readonly receive: Uint8Array
  /** Both sides end with a frame of no bytes: an end without it is no end. */
  readonly endRecord: boolean
}

/** Encrypts what is written to it and decrypts what comes; the first forged byte ends it with `StreamForged`. */
export const dhxcpStream = (inner: Duplex, options: DhxcpOptions): Duplex => new DhxcpStream(inner, options)

/** Counts in network order: 2^64 frames are never reached. */
class Nonce {
  readonly bytes = Buffer.alloc(NONCE_BYTES)
  #next = 0n

  next(): Buffer {
    this.bytes.writeBigUInt64BE(this.#next++, NONCE_BYTES - 8)
    return this.bytes
  }
}

class DhxcpStream extends WrappedStream {
  readonly #options: DhxcpOptions
  readonly #sent = new Nonce()
  readonly #received = new Nonce()
  /** The beginning of a frame that is not complete yet. */
  #rest: Buffer = EMPTY
  #finished = false

  constructor(inner: Duplex, options: DhxcpOptions) {
    super(inner)
    this.#options = options
  }

  protected override receive(piece: Buffer, done: () => void): void {
    const bytes = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece])
    let at = 0
    while (bytes.length - at >= LENGTH_BYTES) {
      const length = bytes.readUInt16BE(at)
      const end = at + LENGTH_BYTES + length
      if (bytes.length < end) break
      const plain = this.#open(bytes.subarray(at + LENGTH_BYTES, end))
      if (plain === undefined) {
        this.destroy(new StreamForged("the encrypted stream was changed on its way"))
        return
      }
      at = end
      if (plain.length > 0) this.deliver(plain)
      else if (this.#options.endRecord) this.#finished = true
    }
    this.#rest = at === bytes.length ? EMPTY : bytes.subarray(at)
    done()
  }

  protected override endsHere(): Error | undefined {
    const cut = this.#rest.length > 0 || (this.#options.endRecord && !this.#finished)
    return cut ? new StreamForged("the encrypted stream was cut off before its end") : undefined
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    const frames: Array<Buffer> = []
    for (let at = 0; at < chunk.length; at += MAX_WRITTEN) {
      frames.push(...this.#seal(chunk.subarray(at, at + MAX_WRITTEN)))
    }
    this.forward(Buffer.concat(frames), written)
  }

  override _final(finished: (error?: Error | null) => void): void {
    if (this.#options.endRecord) this.inner.write(Buffer.concat(this.#seal(EMPTY)))
    super._final(finished)
  }

  #seal(plain: Buffer): ReadonlyArray<Buffer> {
    const cipher = createCipheriv(CIPHER, this.#options.send, this.#sent.next(), { authTagLength: TAG_BYTES })
    const length = Buffer.allocUnsafe(LENGTH_BYTES)
    length.writeUInt16BE(plain.length + TAG_BYTES)
    return [length, cipher.update(plain), cipher.final(), cipher.getAuthTag()]
  }

  /** Undefined when it is not the next frame, or comes after the last one. */
  #open(frame: Buffer): Buffer | undefined {
    if (frame.length < TAG_BYTES || this.#finished) return undefined
    const nonce = this.#received.next()
    const decipher = createDecipheriv(CIPHER, this.#options.receive, nonce, { authTagLength: TAG_BYTES })
    decipher.setAuthTag(frame.subarray(frame.length - TAG_BYTES))
    try {
      const plain = decipher.update(frame.subarray(0, frame.length - TAG_BYTES))
      decipher.final()
      return plain
    } catch {
      return undefined
    }
  }
}
