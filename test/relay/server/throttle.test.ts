import { once } from "node:events"
import { Duplex } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { makeRate, throttle } from "../../../src/relay/server/throttle.ts"

/** A stream that gives `pieces` and ends, and keeps what is written. */
const source = (pieces: ReadonlyArray<string>) => {
  const written: Array<string> = []
  const left = [...pieces]
  const stream = new Duplex({
    read() {
      this.push(left.shift() ?? null)
    },
    write(chunk, _encoding, done) {
      written.push(String(chunk))
      done()
    }
  })
  return { stream, written }
}

const FREE = { take: () => 0 }
/** Every piece waits for a moment. */
const SLOW = { take: () => 5 }

const text = async (stream: Duplex) => {
  let all = ""
  for await (const part of stream.iterator({ destroyOnReturn: false })) all += String(part)
  return all
}

describe("a limit of bytes a second", () => {
  it("lets a tenth of a second's worth through at once, and then as much as its time allows", () => {
    let now = 0
    const rate = makeRate(1_000, () => now)
    now = 1_000
    assert.strictEqual(rate.take(100), 0)
    assert.strictEqual(rate.take(500), 500)
    now = 1_500
    assert.strictEqual(rate.take(1_000), 1_000)
    now = 10_000
    assert.strictEqual(rate.take(100), 0)
  })

  it("is shared by all that take from it", () => {
    let now = 0
    const rate = makeRate(1_000, () => now)
    now = 1_000
    const waits = [1, 2, 3, 4].map(() => rate.take(1_000))
    assert.deepStrictEqual(waits, [900, 1_900, 2_900, 3_900])
  })
})

describe("a stream with a limit", () => {
  for (const [name, rate] of [
    ["that is not reached", FREE],
    ["that is", SLOW]
  ] as const) {
    it(`${name} passes everything and both ends on, the last piece before its end`, async () => {
      const { stream, written } = source(["one ", "two ", "three"])
      const limited = throttle(stream, rate, rate)
      limited.write("up ")
      limited.end("and end")
      assert.strictEqual(await text(limited), "one two three")
      if (!stream.writableFinished) await once(stream, "finish")
      assert.strictEqual(written.join(""), "up and end")
    })
  }

  it("fails with the stream, and takes it with it when it is cut", async () => {
    const failing = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const limited = throttle(failing, FREE, FREE)
    const failed = once(limited, "error")
    failing.destroy(new Error("reset"))
    assert.match(String(await failed), /reset/)

    const cut = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const other = throttle(cut, SLOW, SLOW)
    const closed = once(cut, "close")
    other.destroy()
    await closed
  })
})
