/** Messages on streams that behave in every way a stream can. */
import { Duplex, PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import { connectRequest, connectResponse } from "../../src/protocol/Connect.ts"
import { encodeFrame, MAX_MESSAGE_BYTES, MAX_STRANGER_MESSAGE_BYTES } from "../../src/protocol/Frame.ts"
import { type MessageOptions, receive, receiveWithin, send } from "../../src/protocol/MessageStream.ts"
import { StreamReset } from "../../src/transport/Transport.ts"
import { Closed, TransportError } from "../../src/transport/TransportError.ts"

const options: MessageOptions = { width: 4, limit: MAX_STRANGER_MESSAGE_BYTES }
const connect = { _tag: "Connect", encryptions: ["tls", "dhxcp"] } as const
const frame = encodeFrame(connectRequest.encode(connect), 4)

/** A stream on which nothing ever comes by itself. */
const silent = () => {
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  stream.on("error", () => {})
  return stream
}

const listeners = (stream: Duplex) =>
  ["readable", "end", "close", "data"].map((event) => stream.listenerCount(event)).reduce((a, b) => a + b, 0)

const failure = <A, E extends { readonly reason: unknown }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason as Record<string, unknown> & { readonly _tag: string })

describe("receive", () => {
  for (const width of [4, 8] as const) {
    it.effect(`reads what send wrote, message after message, with prefixes of ${width} bytes`, () =>
      Effect.gen(function* () {
        const stream = new PassThrough()
        for (const value of [connect, { _tag: "Check" } as const, connect]) {
          yield* send(stream, connectRequest, value, { ...options, width })
          assert.deepEqual(yield* receive(stream, connectRequest, { ...options, width }), value)
        }
      })
    )
  }

  it.effect("puts a message together from single bytes", () =>
    Effect.gen(function* () {
      const stream = silent()
      const reading = yield* Effect.forkChild(receive(stream, connectRequest, options), { startImmediately: true })
      for (const byte of frame) {
        stream.push(Buffer.from([byte]))
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      }
      assert.deepEqual(yield* Fiber.join(reading), connect)
    })
  )

  it.effect("takes messages apart that came in one piece", () =>
    Effect.gen(function* () {
      const stream = silent()
      stream.push(Buffer.concat([frame, frame, encodeFrame(new Uint8Array(), 4)]))
      assert.deepEqual(yield* receive(stream, connectRequest, options), connect)
      assert.deepEqual(yield* receive(stream, connectRequest, options), connect)
      assert.deepEqual(yield* receive(stream, connectRequest, options), { _tag: "Check" })
    })
  )

  it.effect("leaves what follows the message to whoever pipes the stream on", () =>
    Effect.gen(function* () {
      const stream = new PassThrough()
      stream.write(Buffer.concat([frame, Buffer.from("user ")]))
      assert.deepEqual(yield* receive(stream, connectRequest, options), connect)
      stream.end("bytes")
      const text = yield* Effect.promise(async () => {
        let read = ""
        for await (const chunk of stream.pipe(new PassThrough())) read += String(chunk)
        return read
      })
      assert.strictEqual(text, "user bytes")
      assert.strictEqual(listeners(stream), 0)
    })
  )

  it.effect("reads a message that is longer than the stream's buffer", () =>
    Effect.gen(function* () {
      const stream = new PassThrough({ highWaterMark: 1024 })
      const value = { _tag: "Refused", code: 501, message: "x".repeat(4000) } as const
      const sending = yield* Effect.forkChild(send(stream, connectResponse, value, options))
      assert.deepEqual(yield* receive(stream, connectResponse, options), value)
      yield* Fiber.join(sending)
    })
  )

  it.effect("refuses a message over its limit as soon as the prefix is there", () =>
    Effect.gen(function* () {
      const stream = silent()
      stream.push(Buffer.from("00010001", "hex"))
      const reason = yield* failure(receive(stream, connectRequest, options))
      assert.deepInclude(reason, { _tag: "FrameTooLarge", length: "65537", limit: 65536 })
      stream.push(Buffer.from("ffffffffffffffff", "hex"))
      const wide = yield* failure(receive(stream, connectRequest, { width: 8, limit: MAX_MESSAGE_BYTES }))
      assert.deepInclude(wide, { _tag: "FrameTooLarge", length: "18446744073709551615" })
    })
  )

  it.effect("tells an end before a message from an end within one", () =>
    Effect.gen(function* () {
      for (const [sent, expected] of [
        [Buffer.alloc(0), "StreamEnded"],
        [frame.subarray(0, 2), "FrameTruncated"],
        [frame.subarray(0, 4), "FrameTruncated"],
        [frame.subarray(0, -1), "FrameTruncated"]
      ] as const) {
        const stream = new PassThrough()
        stream.end(sent)
        assert.strictEqual((yield* failure(receive(stream, connectRequest, options)))._tag, expected)
        assert.strictEqual((yield* failure(receive(stream, connectRequest, options)))._tag, "StreamEnded")
        assert.strictEqual(listeners(stream), 0)
      }
    })
  )

  it.effect("says with which code and words the other side closed the connection", () =>
    Effect.gen(function* () {
      const stream = silent()
      const reading = yield* Effect.forkChild(failure(receive(stream, connectRequest, options)), {
        startImmediately: true
      })
      const closed = new Closed({ by: "peer", code: 100, application: true, text: "no such token" })
      stream.destroy(new TransportError({ reason: closed }))
      assert.deepInclude(yield* Fiber.join(reading), { _tag: "StreamFailed", code: 100, text: "no such token" })
      assert.deepInclude(yield* failure(receive(stream, connectRequest, options)), { code: 100 })
      assert.deepInclude(yield* failure(send(stream, connectRequest, connect, options)), { code: 100 })
    })
  )

  it.effect("has no code for a reset, or for a connection that this side closed", () =>
    Effect.gen(function* () {
      const closed = new Closed({ by: "local", code: 100, application: true, text: "no" })
      for (const error of [new StreamReset(7), new TransportError({ reason: closed }), undefined]) {
        const stream = silent()
        stream.destroy(error)
        const reason = yield* failure(receive(stream, connectRequest, options))
        assert.strictEqual(reason._tag, "StreamFailed")
        assert.notProperty(reason, "code")
      }
    })
  )

  it.effect("leaves nothing on the stream when it is interrupted, and takes no byte", () =>
    Effect.gen(function* () {
      const stream = silent()
      for (let round = 0; round < 100; round++) {
        const reading = yield* Effect.forkChild(receive(stream, connectRequest, options), { startImmediately: true })
        assert.isAbove(listeners(stream), 0)
        yield* Fiber.interrupt(reading)
        assert.strictEqual(listeners(stream), 0)
      }
      stream.push(frame)
      assert.deepEqual(yield* receive(stream, connectRequest, options), connect)
    })
  )

  it.effect("gives up when nothing comes in time", () =>
    Effect.gen(function* () {
      const stream = silent()
      const waiting = yield* Effect.forkChild(failure(receiveWithin(stream, connectRequest, options, "5 seconds")))
      yield* TestClock.adjust("5 seconds")
      assert.deepInclude(yield* Fiber.join(waiting), { _tag: "AnswerTimedOut", afterMillis: 5000 })
      assert.strictEqual(listeners(stream), 0)
    })
  )
})

describe("send", () => {
  it.effect("waits until the stream has taken the message", () =>
    Effect.gen(function* () {
      const taken: Array<() => void> = []
      const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => void taken.push(done) })
      const sending = yield* Effect.forkChild(send(stream, connectRequest, connect, options), {
        startImmediately: true
      })
      assert.isUndefined(sending.pollUnsafe())
      for (const done of taken) done()
      yield* Fiber.join(sending)
    })
  )

  it.effect("fails on a stream that was ended, or that fails while the message waits", () =>
    Effect.gen(function* () {
      const ended = new PassThrough()
      ended.end()
      assert.strictEqual((yield* failure(send(ended, connectRequest, connect, options)))._tag, "StreamFailed")

      const stuck = new Duplex({ read() {}, write() {} })
      stuck.on("error", () => {})
      const sending = yield* Effect.forkChild(Effect.result(send(stuck, connectRequest, connect, options)), {
        startImmediately: true
      })
      const closed = new Closed({ by: "peer", code: 2, application: true, text: "check failed" })
      stuck.destroy(new TransportError({ reason: closed }))
      const result = yield* Fiber.join(sending)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) assert.deepInclude(result.failure.reason, { code: 2, text: "check failed" })
    })
  )
})
