/**
 * The ends of streams, sent so that they arrive.
 *
 * quiche 0.18 takes a stream for complete as soon as all its bytes are acknowledged, whether its end was or not, and
 * forgets it, with the end perhaps unsent or lost; the other side would wait for ever. So an end goes out together with
 * the last bytes, or after they are acknowledged; and once ours is sent, the other side's end is not read before ours has
 * arrived.
 */
import { BURST_PACKETS, END_COPIES, QUIET_MILLIS, SETTLE_MILLIS } from "./limits.ts"
import type { NativeConnection } from "./native.ts"
import type { QuicStream } from "./QuicStream.ts"

const EMPTY = new Uint8Array(0)

export interface StreamEndsHost {
  /** Asks for a turn. */
  schedule(): void
  /** Sends up to so many packets; true when there are more. */
  transmit(packets: number): boolean
  /** How many packets have been sent. */
  packetsSent(): number
  /** The stream of a number, while it has a Duplex. */
  stream(number: number): QuicStream | undefined
  /** The end could not be given to quiche. */
  failed(stream: QuicStream, error: unknown): void
}

export class StreamEnds {
  readonly #native: NativeConnection
  readonly #host: StreamEndsHost
  /** Ends that wait for the bytes before them, with the time those were written. */
  readonly #waiting = new Map<number, number>()
  /** Counts writes; and how many there had been when all of them were last sent. */
  #writes = 0
  #writesSent = 0
  /** The last sending stopped although there was more. */
  #interrupted = false
  #timer: NodeJS.Timeout | undefined

  constructor(native: NativeConnection, host: StreamEndsHost) {
    this.#native = native
    this.#host = host
  }

  get timers(): number {
    return this.#timer === undefined ? 0 : 1
  }

  /** Takes note of bytes that were given to quiche. */
  written(stream: QuicStream): void {
    stream.lastWrite = ++this.#writes
    stream.lastWriteAt = performance.now()
  }

  /** Sends packets; true when there are more. */
  transmit(): boolean {
    const writes = this.#writes
    this.#interrupted = this.#host.transmit(BURST_PACKETS)
    if (!this.#interrupted) this.#writesSent = writes
    return this.#interrupted
  }

  /** Ends a stream: at once when bytes that were not sent yet take the end with them, else as soon as it is safe. */
  finish(stream: QuicStream): void {
    if (stream.lastWrite === 0 || stream.lastWrite > this.#writesSent || this.#quiet) {
      this.#send(stream.number, this.#interrupted ? END_COPIES : 1)
    } else {
      this.#waiting.set(stream.number, stream.lastWriteAt)
      this.#host.schedule()
    }
  }

  /** Sends the ends that have waited long enough. */
  turn(): void {
    for (const [number, writtenAt] of this.#waiting) {
      if (!this.#acknowledged(writtenAt, 2) || !this.allSent()) {
        this.#lookAgain()
        continue
      }
      this.#waiting.delete(number)
      this.#send(number, this.#quiet ? 1 : END_COPIES)
    }
  }

  /** Whether our end, if it was sent, has arrived, so that the other side's may be read. */
  arrived(stream: QuicStream): boolean {
    if (stream.endSentAt === undefined) return true
    if (!this.#acknowledged(stream.endSentAt, 4)) {
      this.#lookAgain()
      return false
    }
    stream.endSentAt = undefined
    return true
  }

  /**
   * Whether everything that quiche holds has been sent, and more could be. It does not tell, but when one more packet
   * goes out for a mere PING, then nothing was waiting and nothing was in its way.
   */
  allSent(): boolean {
    if (this.#interrupted) return false
    const before = this.#host.packetsSent()
    this.#native.sendAckEliciting()
    return !this.transmit() && this.#host.packetsSent() > before
  }

  clear(): void {
    this.#waiting.clear()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Nothing is on its way that is not acknowledged: then quiche has no timer but that of the idle timeout. */
  get #quiet(): boolean {
    return (this.#native.timeout() ?? 0) > QUIET_MILLIS
  }

  /** Whether what was sent at `since` has arrived: certainly on a quiet connection, else most likely after round trips. */
  #acknowledged(since: number, roundTrips: number): boolean {
    if (this.#quiet) return true
    const roundTripMillis = this.#native.pathStats().find((path) => path.active)?.rtt ?? 0
    return performance.now() - since > roundTrips * (roundTripMillis + SETTLE_MILLIS)
  }

  /** Sends an end at once and before anything else, so that nothing can come between. */
  #send(number: number, copies: number): void {
    const stream = this.#host.stream(number)
    try {
      this.#native.streamPriority(number, 0, true)
      for (let copy = 0; copy < copies; copy++) {
        this.#native.streamSend(number, EMPTY, true)
        this.transmit()
      }
    } catch (error) {
      if (stream !== undefined) this.#host.failed(stream, error)
      return
    }
    if (stream !== undefined) stream.endSentAt = performance.now()
    this.#host.schedule()
  }

  /** Asks for a turn a little later, in case nothing else does. */
  #lookAgain(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#host.schedule()
    }, SETTLE_MILLIS)
  }
}
