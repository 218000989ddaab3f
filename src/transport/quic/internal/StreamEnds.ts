/**
 * The ends of streams, sent so that they arrive.
 *
 * quiche 0.18 takes a stream for complete as soon as all its bytes are acknowledged, whether its end was or not, and
 * forgets it, with the end perhaps unsent or lost; and an end without bytes that was lost it may not send again. The other
 * side would wait for ever. So an end goes out together with the last bytes, or after they are acknowledged; alone, it is
 * sent again while packets have been lost since; and meanwhile the other side's end is not read.
 */
import { BURST_PACKETS, END_BURST, END_CERTAIN_MILLIS, END_COPIES, QUIET_MILLIS, SETTLE_MILLIS } from "./limits.ts"
import type { NativeConnection } from "./native.ts"
import type { QuicStream } from "./QuicStream.ts"

const EMPTY = new Uint8Array(0)

/** An end that waits for the bytes before it: since when all of them were sent, and how many packets had been lost by then. */
interface Waiting {
  readonly sentAt: number | undefined
  readonly lost: number
  readonly triesLeft: number
}

/** An end that may be lost: when it was sent last, how many packets had been lost by then, how often it may be sent again. */
interface Unconfirmed {
  readonly sentAt: number
  readonly lost: number
  readonly copiesLeft: number
}

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
  readonly #waiting = new Map<number, Waiting>()
  readonly #unconfirmed = new Map<number, Unconfirmed>()
  #confirmedAt = 0
  /** Counts writes; and how many there had been when all of them were last sent. */
  #writes = 0
  #writesSent = 0
  /** The last sending stopped although there was more. */
  #interrupted = false
  #roundTripMillis = 0
  #roundTripAt = Number.NEGATIVE_INFINITY
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
  }

  /** Sends packets; true when there are more. */
  transmit(): boolean {
    const writes = this.#writes
    this.#interrupted = this.#host.transmit(BURST_PACKETS)
    if (!this.#interrupted) this.#writesSent = writes
    return this.#interrupted
  }

  /** Ends a stream: at once when bytes that were surely not sent yet take the end with them, else as soon as it is safe. */
  finish(stream: QuicStream): void {
    if (stream.lastWrite > this.#writesSent && !this.#interrupted) {
      this.#send(stream.number)
    } else {
      this.#waiting.set(stream.number, { sentAt: undefined, lost: 0, triesLeft: END_COPIES })
      this.#host.schedule()
    }
  }

  /** Sends the ends that have waited long enough, and those again that may have been lost. */
  turn(): void {
    if (this.#waiting.size > 0) this.#sendWaiting()
    if (this.#unconfirmed.size > 0) this.#confirm()
    if (this.#waiting.size + this.#unconfirmed.size > 0) this.#lookAgain()
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
    this.#unconfirmed.clear()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Nothing is on its way that is not acknowledged: then quiche has no timer but that of the idle timeout. */
  get #quiet(): boolean {
    return (this.#native.timeout() ?? 0) > QUIET_MILLIS
  }

  /** Whether what was sent at `since` has arrived: certainly on a quiet connection, else most likely after round trips. */
  #acknowledged(since: number, roundTrips: number): boolean {
    const now = performance.now()
    if (now - this.#roundTripAt > SETTLE_MILLIS) {
      // Asking quiche is too slow to do it for each of many streams.
      this.#roundTripMillis = this.#native.pathStats().find((path) => path.active)?.rtt ?? 0
      this.#roundTripAt = now
    }
    return now - since > roundTrips * (this.#roundTripMillis + SETTLE_MILLIS) || this.#quiet
  }

  /** Sends an end once the bytes before it have arrived: all were sent, and a while later no packet has been lost since. */
  #sendWaiting(): void {
    let lost: number | undefined
    for (const [number, { sentAt, lost: lostThen, triesLeft }] of this.#waiting) {
      if (this.#quiet) {
        this.#waiting.delete(number)
        this.#sendAlone(number, END_COPIES)
      } else if (sentAt === undefined) {
        if (!this.allSent()) return
        lost ??= this.#native.stats().lost
        this.#waiting.set(number, { sentAt: performance.now(), lost, triesLeft })
      } else if (this.#acknowledged(sentAt, 2)) {
        lost ??= this.#native.stats().lost
        this.#waiting.delete(number)
        if (lost === lostThen || triesLeft === 0) this.#sendAlone(number, END_COPIES)
        else this.#waiting.set(number, { sentAt: undefined, lost, triesLeft: triesLeft - 1 })
      }
    }
  }

  /** Every few milliseconds: an end has arrived when no packet was lost since and none is on its way. */
  #confirm(): void {
    const now = performance.now()
    if (now - this.#confirmedAt < SETTLE_MILLIS) return
    this.#confirmedAt = now
    const { lost } = this.#native.stats()
    for (const [number, end] of this.#unconfirmed) {
      if (lost !== end.lost) {
        if (!this.#acknowledged(end.sentAt, 1)) continue
        this.#unconfirmed.delete(number)
        if (end.copiesLeft > 0) this.#sendAlone(number, end.copiesLeft - 1)
      } else if (this.#quiet || now - end.sentAt > END_CERTAIN_MILLIS) {
        this.#unconfirmed.delete(number)
      }
    }
  }

  #sendAlone(number: number, copiesLeft: number): void {
    const { lost } = this.#native.stats()
    let sent = true
    for (let packets = this.#quiet ? 1 : END_BURST; packets > 0 && sent; packets--) sent = this.#send(number)
    if (sent) this.#unconfirmed.set(number, { sentAt: performance.now(), lost, copiesLeft })
  }

  /** Sends an end at once and before anything else, so that nothing can come between; false when it cannot be sent. */
  #send(number: number): boolean {
    const stream = this.#host.stream(number)
    try {
      this.#native.streamPriority(number, 0, true)
      this.#native.streamSend(number, EMPTY, true)
    } catch (error) {
      if (stream !== undefined && stream.endSentAt === undefined) this.#host.failed(stream, error)
      return false
    }
    this.transmit()
    if (stream !== undefined) stream.endSentAt = performance.now()
    this.#host.schedule()
    return true
  }

  /** Asks for a turn a little later, in case nothing else does. */
  #lookAgain(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#host.schedule()
    }, SETTLE_MILLIS)
  }
}
