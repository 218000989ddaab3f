import { once } from "node:events"
import type { Duplex } from "node:stream"
import { assert, describe, it } from "vitest"
import { splice } from "../../../src/internal/splice.ts"
import { makeRate, type Rate, throttle } from "../../../src/relay/server/throttle.ts"
import { MemoryStream, type MemoryStreamOwner } from "../../../src/transport/memory/MemoryStream.ts"

const OWNER: MemoryStreamOwner = {
  carry: (deliver) => deliver(),
  sent: () => {},
  begin: () => {},
  release: () => {}
}

/** Everything waits so long. */
const slow = (millis: number): Rate => ({ take: () => millis })

/** The two ends of a stream, the near one slowed down in both directions. */
const slowed = (millis = 3) => {
  const [inner, far] = MemoryStream.pair(OWNER, OWNER)
  inner.write("")
  return { inner, far, near: throttle(inner, slow(millis), slow(millis)) }
}

/** Everything until the end of the read half; the write half is left alone. */
const text = (from: Duplex) =>
  new Promise<string>((resolve, reject) => {
    let all = ""
    from.on("data", (part) => {
      all += part
    })
    from.once("end", () => resolve(all)).once("error", reject)
  })

const failure = async (of: Duplex) => {
  const [error] = (await once(of, "error")) as [Error]
  return error.name
}

describe("a rate", () => {
  it("lets bytes wait as long as they take at this speed", () => {
    const rate = makeRate(1_000, () => 0)
    assert.strictEqual(rate.take(500), 500)
    assert.strictEqual(rate.take(250), 750)
    assert.strictEqual(rate.take(0), 750)
  })

  it("takes the time that has passed into account", () => {
    let now = 0
    const rate = makeRate(1_000, () => now)
    assert.strictEqual(rate.take(500), 500)
    now = 300
    assert.strictEqual(rate.take(100), 300)
    now = 600
    assert.strictEqual(rate.take(100), 100)
  })

  it("lets a tenth of a second pass at once after a pause, however long, and not more", () => {
    let now = 0
    const rate = makeRate(1_000, () => now)
    now = 3_600_000
    assert.strictEqual(rate.take(60), 0)
    assert.strictEqual(rate.take(40), 0)
    assert.strictEqual(rate.take(1), 1)
  })

  it("is kept over any stretch of time, whatever the pieces are and whoever takes them", () => {
    let now = 0
    const rate = makeRate(100_000, () => now)
    let seed = 7
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return seed % below
    }
    let passed = 0
    for (let round = 0; round < 2_000; round++) {
      const bytes = random(70_000)
      now += rate.take(bytes)
      passed += bytes
      // What waited has passed; of the rest at most a tenth of a second went before its time.
      assert.isAtMost(passed, (100_000 * (now + 100)) / 1_000 + 1)
    }
    assert.isAtLeast(passed, (100_000 * (now - 1)) / 1_000)
  })
})

describe("a slowed stream", () => {
  it("passes bytes and ends in both directions, each for itself", async () => {
    const { far, near } = slowed()
    near.end("answer")
    assert.strictEqual(await text(far), "answer")
    far.write("ques")
    far.end("tion")
    assert.strictEqual(await text(near), "question")
  })

  it("does not let anything through before its time", async () => {
    const { far, near } = slowed(30)
    const began = performance.now()
    near.write("a")
    await once(far, "readable")
    far.end("b")
    assert.strictEqual(await text(near), "b")
    assert.isAtLeast(performance.now() - began, 58)
  })

  it("keeps the pieces in order although each waits for itself", async () => {
    const [inner, far] = MemoryStream.pair(OWNER, OWNER)
    const waits = [20, 0, 5, 0]
    const near = throttle(inner, { take: () => waits.shift() ?? 0 }, { take: () => waits.shift() ?? 0 })
    for (const word of ["one", "two", "three", "four"]) near.write(word)
    near.end()
    assert.strictEqual(await text(far), "onetwothreefour")
  })

  it("reads no further than its buffer while a piece waits", async () => {
    const { far, near } = slowed(60_000)
    const chunk = Buffer.alloc(16 * 1024)
    let written = 0
    while (written < 64 * 1024 * 1024 && far.write(chunk)) {
      written += chunk.length
      await new Promise(setImmediate)
    }
    assert.isBelow(written, 1024 * 1024)
    near.destroy()
  })

  it("loses nothing when the end comes while a piece waits", async () => {
    const { far, near } = slowed(20)
    far.end("last words")
    assert.strictEqual(await text(near), "last words")
  })

  it("fails with the reset of the other side, also while a piece waits in either direction", async () => {
    const { far, near } = slowed(60_000)
    near.resume()
    near.write("waits")
    far.write("waits")
    const failed = failure(near)
    await new Promise(setImmediate)
    far.reset(0)
    assert.strictEqual(await failed, "StreamReset")
  })

  it("cuts the other side when it is destroyed, and leaves no timer behind", async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length
    const before = timers()
    const { far, near } = slowed(60_000)
    const failed = failure(far)
    near.resume()
    near.write("waits")
    far.write("waits")
    await new Promise(setImmediate)
    assert.isAbove(timers(), before)
    near.destroy()
    assert.strictEqual(await failed, "StreamReset")
    // Those of a test before this one may have ended meanwhile.
    assert.isAtMost(timers(), before)
  })

  it("delivers the last words of a side that does not read what is still sent to it", async () => {
    const [left, right] = [slowed(20), slowed(20)]
    const done = new Promise((resolve) => splice(left.near, right.near, resolve))
    const upload = setInterval(() => left.far.write("more"), 1)
    const heard = text(left.far).finally(() => clearInterval(upload))
    right.far.stop(0)
    right.far.end("no, thanks")
    assert.strictEqual(await heard, "no, thanks")
    left.far.end()
    await done
  })
})
