/**
 * Streams that were given up before both of their ends, until quiche has freed them.
 *
 * quiche 0.18 frees a stream only when the end of both halves was seen, and each kind of giving up has a gap in that:
 * - The read half was shut down: quiche does not notice the end that comes later. So where our write half goes too, the
 *   rest is read and dropped instead (`discard`); where it has ended before, the other side must be told to stop, and the
 *   stream is freed by one more frame after its end has come (`stop`).
 * - The other side reset it: it is freed by the first read after our own half is acknowledged (`reap`).
 * - We reset it with bytes unsent: it is never freed. So a reset waits until they have gone out (`reset`).
 *
 * What leaks even so (the other side stopped us while bytes were unsent) uses up the connection's `streamsLeft`.
 */
import { BURST_REAPED, DISCARD_MILLIS } from "./limits.ts"
import { errorCode, type NativeConnection, SHUTDOWN_READ, SHUTDOWN_WRITE } from "./native.ts"

const EMPTY = new Uint8Array(0)
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024)

export class AbandonedStreams {
  readonly #native: NativeConnection
  readonly #schedule: () => void
  /** Each with the time it was given up. */
  readonly #discarded = new Map<number, number>()
  readonly #stopped = new Map<number, number>()
  readonly #resets = new Map<number, { readonly code: number; readonly since: number }>()
  readonly #reaped = new Set<number>()

  constructor(native: NativeConnection, schedule: () => void) {
    this.#native = native
    this.#schedule = schedule
  }

  /** Resets our half once everything written to it has been sent. */
  reset(number: number, code: number): void {
    this.#resets.set(number, { code, since: Date.now() })
    this.#schedule()
  }

  /** Tells the other side to stop. */
  stop(number: number, code: number): void {
    this.#shutdown(number, SHUTDOWN_READ, code)
    this.#stopped.set(number, Date.now())
    this.#schedule()
  }

  /** Reads and drops what still comes. */
  discard(number: number): void {
    this.#discarded.set(number, Date.now())
  }

  /** The other side has reset it. */
  reap(number: number): void {
    this.#reaped.add(number)
  }

  /** Takes what came for a stream that is discarded; false when it is none. */
  drop(number: number): boolean {
    if (!this.#discarded.has(number)) return false
    try {
      for (;;) {
        const received = this.#native.streamRecv(number, SCRATCH)
        if (received === null) return true
        if (received[1]) break
      }
    } catch {
      // Reset: that is the end which was waited for.
      this.#reaped.add(number)
    }
    this.#discarded.delete(number)
    return true
  }

  /** After packets were sent; `allSent` tells whether everything was. */
  turn(allSent: () => boolean): void {
    if (this.#resets.size > 0 && allSent()) this.#sendResets()
    if (this.#reaped.size > 0) this.#reap()
  }

  /** About once a second. `inUse`: the stream still has a Duplex. */
  tick(now: number, inUse: (number: number) => boolean): void {
    for (const [number, since] of this.#discarded) {
      if (now - since < DISCARD_MILLIS) continue
      this.#discarded.delete(number)
      this.stop(number, 0)
    }
    for (const [number, since] of this.#stopped) {
      if (!inUse(number)) this.#freeStopped(number, now - since)
    }
    for (const [number, { code, since }] of this.#resets) {
      if (now - since < DISCARD_MILLIS) continue
      this.#resets.delete(number)
      this.#shutdown(number, SHUTDOWN_WRITE, code)
    }
  }

  clear(): void {
    this.#discarded.clear()
    this.#stopped.clear()
    this.#resets.clear()
    this.#reaped.clear()
  }

  #sendResets(): void {
    for (const [number, { code }] of this.#resets) this.#shutdown(number, SHUTDOWN_WRITE, code)
    this.#resets.clear()
    this.#schedule()
  }

  /** Reads once more where a reset came in, until quiche has freed the stream. */
  #reap(): void {
    let left = BURST_REAPED
    for (const number of this.#reaped) {
      if (left-- === 0) return
      this.#reaped.delete(number)
      try {
        this.#native.streamRecv(number, EMPTY)
      } catch (error) {
        if (errorCode(error, "StreamReset") !== undefined) this.#reaped.add(number)
      }
    }
  }

  /** Frees a stream whose read half was shut down, once its end has come and its write half is long finished. */
  #freeStopped(number: number, ageMillis: number): void {
    try {
      this.#native.streamCapacity(number)
    } catch (error) {
      if (errorCode(error, "InvalidStreamState") !== undefined) this.#stopped.delete(number)
    }
    if (ageMillis > 2 * DISCARD_MILLIS && this.#stopped.has(number) && this.#native.streamFinished(number)) {
      this.#stopped.delete(number)
      this.#shutdown(number, SHUTDOWN_WRITE, 0)
    }
  }

  #shutdown(number: number, half: 0 | 1, code: number): void {
    try {
      this.#native.streamShutdown(number, half, code)
    } catch {
      // Gone, or shut down already.
    }
  }
}
