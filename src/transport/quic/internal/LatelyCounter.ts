/** Counts what happens, and begins anew when the time from the first of it is over. */
export class LatelyCounter {
  readonly #millis: number
  #count = 0
  #since = 0

  constructor(millis: number) {
    this.#millis = millis
  }

  /** One more; how many there are now. */
  add(): number {
    this.#count = this.count() + 1
    return this.#count
  }

  count(): number {
    const now = Date.now()
    if (now - this.#since > this.#millis) {
      this.#count = 0
      this.#since = now
    }
    return this.#count
  }
}
