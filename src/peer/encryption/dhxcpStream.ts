/**
 * The bytes of a `dhxcp` stream: frames of a length (2 bytes, big-endian) and as many bytes of ChaCha20-Poly1305
 * (RFC 8439), numbered from 0 in each direction. Streams of a session have the same with AES-256-GCM. Plain Node.
 */
import { createCipheriv, createDecipheriv } from "node:crypto"
import type { Duplex } from "node:stream"
import { WrappedStream } from "../../internal/WrappedStream.ts"
import { StreamForged } from "./EncryptionError.ts"

const LENGTH_BYTES = 2
const TAG_BYTES = 16
const NONCE_BYTES = 12
/** What upstream puts into one frame at most, and what it takes. */
const MAX_WRITTEN = 65_517
const EMPTY = Buffer.alloc(0)

export interface DhxcpOptions {
  readonly send: Uint8Array
  readonly receive: Uint8Array
  /** Upstream's, unless given. */
  readonly cipher?: "chacha20-poly1305" | "aes-256-gcm"
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
  readonly #cipher: "chacha20-poly1305"
  readonly #sent = new Nonce()
  readonly #received = new Nonce()
  /** The beginning of a frame that is not complete yet, as it came. */
  #parts: Array<Buffer> = []
  /** What has to come at least before there is something to look at. */
  #missing = LENGTH_BYTES
  #finished = false

  constructor(inner: Duplex, options: DhxcpOptions) {
    super(inner)
    this.#options = options
    // Both are used in the same way; Node's types have one overload for each.
    this.#cipher = (options.cipher ?? "chacha20-poly1305") as "chacha20-poly1305"
  }

  protected override receive(piece: Buffer, done: () => void): void {
    this.#parts.push(piece)
    this.#missing -= piece.length
    if (this.#missing > 0) {
      done()
      return
    }
    const bytes = this.#parts.length === 1 ? piece : Buffer.concat(this.#parts)
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
    const rest = bytes.subarray(at)
    this.#parts = rest.length === 0 ? [] : [rest]
    const length = rest.length < LENGTH_BYTES ? 0 : rest.readUInt16BE(0)
    this.#missing = LENGTH_BYTES + length - rest.length
    done()
  }

  protected override endsHere(): Error | undefined {
    const cut = this.#parts.length > 0 || (this.#options.endRecord && !this.#finished)
    return cut ? new StreamForged("the encrypted stream was cut off before its end") : undefined
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    const parts: Array<Buffer> = []
    for (let at = 0; at < chunk.length; at += MAX_WRITTEN) {
      parts.push(...this.#seal(chunk.subarray(at, at + MAX_WRITTEN)))
    }
    const last = parts.pop() ?? EMPTY
    // Together, and without a copy.
    this.inner.cork()
    for (const part of parts) this.inner.write(part)
    this.forward(last, written)
    this.inner.uncork()
  }

  override _final(finished: (error?: Error | null) => void): void {
    if (this.#options.endRecord) this.inner.write(Buffer.concat(this.#seal(EMPTY)))
    super._final(finished)
  }

  #seal(plain: Buffer): ReadonlyArray<Buffer> {
    const cipher = createCipheriv(this.#cipher, this.#options.send, this.#sent.next(), { authTagLength: TAG_BYTES })
    const length = Buffer.allocUnsafe(LENGTH_BYTES)
    length.writeUInt16BE(plain.length + TAG_BYTES)
    const sealed = cipher.update(plain)
    // It has nothing to add: these ciphers know no blocks.
    cipher.final()
    return [length, sealed, cipher.getAuthTag()]
  }

  /** Undefined when it is not the next frame, or comes after the last one. */
  #open(frame: Buffer): Buffer | undefined {
    if (frame.length < TAG_BYTES || this.#finished) return undefined
    const nonce = this.#received.next()
    const decipher = createDecipheriv(this.#cipher, this.#options.receive, nonce, { authTagLength: TAG_BYTES })
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
