/**
 * What a user says before his destination has answered: it goes out right behind the request, and is kept in case that
 * somebody else must be asked. Plain Node.
 *
 * - Nothing of the user is read before the first stream that takes it, so that who may not be sent anything costs nothing.
 * - At most 64 KiB are taken; what is more waits with the user until the answer, and so does his end.
 * - Every stream gets all of it, from the first byte.
 */
import type { Duplex, Readable, Writable } from "node:stream"

/** As much as a stream takes without waiting: whoever has more to say has no use for a round trip. */
export const MAX_FIRST_BYTES = 65_536

export class FirstBytes {
  readonly #user: Readable
  readonly #parts: Array<Buffer> = []
  #length = 0
  /** What gets the bytes of the user at the moment. */
  #stream: Writable | undefined

  constructor(user: Duplex) {
    this.#user = user
  }

  /** Writes what was taken to this stream instead of the one before, and what comes as it comes. */
  follow(stream: Writable): void {
    const begins = this.#stream === undefined
    this.#stream = stream
    for (const part of this.#parts) stream.write(part)
    if (begins) this.#user.on("readable", this.#take)
    this.#take()
  }

  /** Gives the user back. `stream` is to carry him on from here: it has got all that was taken. */
  handOver(stream: Writable): void {
    if (this.#stream === undefined) return
    this.#user.off("readable", this.#take)
    if (stream !== this.#stream) for (const part of this.#parts) stream.write(part)
    this.#parts.length = 0
  }

  readonly #take = (): void => {
    while (this.#length < MAX_FIRST_BYTES) {
      const room = MAX_FIRST_BYTES - this.#length
      const part: Buffer | null = this.#user.read(Math.min(room, Math.max(this.#user.readableLength, 1)))
      if (part === null) return
      this.#parts.push(part)
      this.#length += part.length
      if (!this.#stream!.destroyed) this.#stream!.write(part)
    }
  }
}
