import { once } from "node:events"
import { Duplex, duplexPair, type Readable } from "node:stream"
import { assert, describe, it } from "vitest"
import { FirstBytes, MAX_FIRST_BYTES } from "../../../src/endpoint/source/FirstBytes.ts"
import { splice } from "../../../src/internal/splice.ts"

/** Everything until the end, which leaves the other direction open. */
const all = async (stream: Readable) => {
  const parts: Array<Buffer> = []
  stream.on("data", (part) => parts.push(part))
  await once(stream, "end")
  return Buffer.concat(parts)
}

/** What has arrived, once it is so much. */
const arrived = async (stream: Duplex, length: number) => {
  while (stream.readableLength < length) await once(stream, "readable")
  return String(stream.read(length))
}

describe("the first bytes of a user", () => {
  it("go to the stream as they come, and all of them to the next one", async () => {
    const [user, far] = duplexPair()
    const firstBytes = new FirstBytes(far)
    const [near, first] = duplexPair()
    user.write("hello, ")
    firstBytes.follow(near)
    assert.strictEqual(await arrived(first, 7), "hello, ")
    user.write("world")
    assert.strictEqual(await arrived(first, 5), "world")
    near.destroy()
    const [next, second] = duplexPair()
    firstBytes.follow(next)
    assert.strictEqual(await arrived(second, 12), "hello, world")
    user.write("!")
    assert.strictEqual(await arrived(second, 1), "!")
  })

  it("are kept for who may be sent them only after the answer, and what follows comes behind them", async () => {
    const [user, far] = duplexPair()
    const firstBytes = new FirstBytes(far)
    user.write("one ")
    firstBytes.follow(new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() }))
    await new Promise(setImmediate)
    const [near, late] = duplexPair()
    near.write("header ")
    firstBytes.handOver(near)
    splice(far, near, () => {})
    user.end("two")
    assert.strictEqual(String(await all(late)), "header one two")
  })

  it("are never more than 64 KiB, and the user waits with the rest", async () => {
    const [user, far] = duplexPair()
    const firstBytes = new FirstBytes(far)
    const sent = Buffer.alloc(1 << 20, "0123456789")
    user.end(sent)
    let length = 0
    const stream = new Duplex({
      read() {},
      write: (chunk, _encoding, done) => {
        length += chunk.length
        done()
      }
    })
    firstBytes.follow(stream)
    while (length < MAX_FIRST_BYTES) await new Promise(setImmediate)
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
    assert.strictEqual(length, MAX_FIRST_BYTES)
    assert.isFalse(user.writableFinished)

    const [near, late] = duplexPair()
    firstBytes.follow(near)
    const received = all(late)
    firstBytes.handOver(near)
    splice(far, near, () => {})
    assert.isTrue(sent.equals(await received))
  })

  it("of a user who has ended before the answer are followed by his end, and the answer reaches him", async () => {
    const [user, far] = duplexPair()
    const firstBytes = new FirstBytes(far)
    const [near, service] = duplexPair()
    firstBytes.follow(near)
    user.end("all I have to say")
    await once(far, "end")
    assert.isFalse(service.readableEnded)
    firstBytes.handOver(near)
    splice(far, near, () => {})
    assert.strictEqual(String(await all(service)), "all I have to say")
    service.end("fine")
    assert.strictEqual(String(await all(user)), "fine")
  })

  it("are not read as long as nobody may have them", async () => {
    const [user, far] = duplexPair()
    const firstBytes = new FirstBytes(far)
    user.end("hello")
    await new Promise(setImmediate)
    assert.strictEqual(far.listenerCount("readable"), 0)
    const [near, late] = duplexPair()
    firstBytes.handOver(near)
    splice(far, near, () => {})
    assert.strictEqual(String(await all(late)), "hello")
  })
})
