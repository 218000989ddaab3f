import { once } from "node:events"
import { type Duplex, duplexPair } from "node:stream"
import { assert, describe, it } from "vitest"
import { WrappedStream } from "../../src/internal/WrappedStream.ts"
import { MemoryStream, type MemoryStreamOwner } from "../../src/transport/memory/MemoryStream.ts"

/** Passes everything on as it is; while `holding`, what came waits until it is let go. */
class Passing extends WrappedStream {
  holding = false
  #held: (() => void) | undefined

  letGo(): void {
    this.holding = false
    this.#held?.()
  }

  protected override receive(piece: Buffer, done: () => void): void {
    const go = () => {
      this.deliver(piece)
      done()
    }
    if (this.holding) this.#held = go
    else go()
  }

  protected override endsHere(): undefined {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.forward(chunk, written)
  }
}

const OWNER: MemoryStreamOwner = {
  carry: (deliver) => deliver(),
  sent: () => {},
  begin: () => {},
  release: () => {}
}

/** The two ends of a stream that can be reset and stopped, the near one wrapped. */
const wrapped = () => {
  const [inner, far] = MemoryStream.pair(OWNER, OWNER)
  inner.write("")
  const stream = new Passing(inner)
  return { inner, far, stream }
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

const turns = async (count = 5) => {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate)
}

describe("a wrapped stream", () => {
  it("passes bytes and ends, each direction for itself", async () => {
    const { far, stream } = wrapped()
    far.end("question")
    assert.strictEqual(await text(stream), "question")
    stream.end("answer")
    assert.strictEqual(await text(far), "answer")
  })

  it("ends only after the last piece was received, however long that takes", async () => {
    const { far, stream } = wrapped()
    stream.holding = true
    const all = text(stream)
    far.end("piece")
    await turns()
    assert.isFalse(stream.readableEnded)
    stream.letGo()
    assert.strictEqual(await all, "piece")
  })

  it("gives out what it holds when the other side had stopped reading before its end", async () => {
    const { far, stream } = wrapped()
    stream.holding = true
    let all = ""
    stream.on("data", (part) => {
      all += part
    })
    const failed = failure(stream)
    far.stop(0)
    far.end("last words")
    await turns()
    // Nobody takes it any more, which is no reason to lose what came.
    stream.write("unheard")
    stream.end()
    await turns()
    assert.isFalse(stream.destroyed)
    stream.letGo()
    assert.strictEqual(await failed, "StreamStopped")
    assert.strictEqual(all, "last words")
  })

  it("gives out what nobody has read yet when the other side had stopped reading before its end", async () => {
    const { far, stream } = wrapped()
    far.stop(0)
    far.end("last words")
    stream.read(0)
    await turns()
    stream.end("unheard")
    await turns()
    let all = ""
    stream.on("data", (part) => {
      all += part
    })
    assert.strictEqual(await failure(stream), "StreamStopped")
    assert.strictEqual(all, "last words")
  })

  it("fails at once when the inner stream is reset, also while it holds a piece", async () => {
    for (const holding of [true, false]) {
      const { far, stream } = wrapped()
      stream.holding = holding
      stream.resume()
      const failed = failure(stream)
      far.write("half of it")
      await turns()
      far.reset(0)
      assert.strictEqual(await failed, "StreamReset")
    }
  })

  it("fails when the inner stream is closed before its end", async () => {
    const { inner, stream } = wrapped()
    const failed = once(stream, "error")
    inner.destroy()
    assert.match(String((await failed)[0]), /closed before its end/)
  })

  it("cuts the inner stream when it is destroyed", async () => {
    const { far, stream } = wrapped()
    const failed = failure(far)
    stream.destroy()
    assert.strictEqual(await failed, "StreamReset")
  })

  it("knows what happened to the inner stream before it was wrapped", async () => {
    const [ended, far] = duplexPair()
    far.end()
    await once(ended.resume(), "end")
    assert.strictEqual(await text(new Passing(ended)), "")

    const [failed] = duplexPair()
    failed.on("error", () => {}).destroy(new TypeError("broken"))
    await turns()
    assert.strictEqual(await failure(new Passing(failed)), "TypeError")

    const [closed] = duplexPair()
    closed.destroy()
    await turns()
    assert.strictEqual(await failure(new Passing(closed)), "Error")
  })

  it("reads for a reader that does not read no further than its buffer", async () => {
    const { far, stream } = wrapped()
    const chunk = Buffer.alloc(16 * 1024)
    let written = 0
    while (written < 64 * 1024 * 1024 && far.write(chunk)) {
      written += chunk.length
      await turns(1)
    }
    assert.isBelow(written, 1024 * 1024)
    assert.isAtMost(stream.readableLength, 256 * 1024)
  })

  it("does not take more than the inner stream takes", async () => {
    const { stream } = wrapped()
    const chunk = Buffer.alloc(16 * 1024)
    let written = 0
    while (written < 64 * 1024 * 1024 && stream.write(chunk)) {
      written += chunk.length
      await turns(1)
    }
    assert.isBelow(written, 1024 * 1024)
  })

  it("carries very many small pieces", async () => {
    const { far, stream } = wrapped()
    const pieces = 10_000
    stream.cork()
    for (let piece = 0; piece < pieces; piece++) {
      far.write("a")
      stream.write("b")
    }
    stream.end()
    far.end()
    const [there, back] = await Promise.all([text(far), text(stream)])
    assert.deepEqual([there.length, back.length], [pieces, pieces])
  })
})
