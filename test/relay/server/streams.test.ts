/** What becomes of the streams of a source at a relay, with all clients played by the test. */
import { once } from "node:events"
import type { Duplex } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { certificateKey } from "../../../src/certs/certificateKey.ts"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import { Alpn } from "../../../src/protocol/Alpn.ts"
import * as Connect from "../../../src/protocol/Connect.ts"
import { encodeFrame } from "../../../src/protocol/Frame.ts"
import { decode, receive, receiveFrame, send, sendFrame } from "../../../src/protocol/MessageStream.ts"
import type { TransportStream } from "../../../src/transport/Transport.ts"
import { answerTo, ask, CONNECT, eventually, type Guest, makeWorldWithRelay, passing } from "../World.ts"

const CONNECTED: Connect.ConnectResponse = { _tag: "Connected", proxy: "none", encryption: "none" }
const [NEW, OLD] = Alpn.relay

/** Answers every stream of a destination in the same way. */
const answering = (
  guest: Guest,
  answer: Connect.ConnectResponse,
  then: (stream: TransportStream) => unknown = (stream) => stream.end().resume()
) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* guest.connection.accept
      yield* receive(stream, Connect.connectRequest, guest.messages)
      yield* send(stream, Connect.connectResponse, answer, guest.messages)
      then(stream)
    }
  }).pipe(Effect.ignore, Effect.forkScoped)

/** Answers with the text, and what it was sent. */
const echoing = (text: string) => (stream: TransportStream) => {
  stream.write(text)
  stream.pipe(stream)
}

const text = (from: Duplex) =>
  Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        let all = ""
        from.on("data", (part) => {
          all += part
        })
        from.once("end", () => resolve(all)).once("error", reject)
      })
  )

const failure = (of: Duplex) => Effect.promise(async () => ((await once(of.resume(), "error")) as [Error])[0].name)

const keyOf = ({ identity }: Guest) => certificateKey(identity.leaf.raw)

describe("a stream through a relay", () => {
  it.live("is refused when no destination is there, or not the one that is meant", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      assert.deepInclude(yield* answerTo(source), { _tag: "Refused", code: 500 })
      const destination = yield* guest("destination")
      yield* answering(destination, CONNECTED)
      yield* answering(yield* guest("destination", { endpoint: "other" as EndpointName }), CONNECTED)
      assert.strictEqual((yield* answerTo(source))._tag, "Connected")
      const elsewhere = { ...CONNECT, destinationKey: keyOf(source) }
      assert.deepInclude(yield* answerTo(source, elsewhere), { _tag: "Refused", code: 500 })
      yield* destination.connection.close(0, "")
      yield* eventually(answerTo(source), (answer) => answer._tag === "Refused" && answer.code === 500)
    }).pipe(Effect.scoped)
  )

  it.live("is refused with everything that the destinations say, when all of them refuse", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      yield* answering(yield* guest("destination"), { _tag: "Refused", code: 501, message: "not today" })
      yield* answering(yield* guest("destination"), { _tag: "Refused", code: 502, message: "no encryption" })
      yield* answering(yield* guest("destination"), { _tag: "Checked" })
      assert.deepEqual(yield* answerTo(source), {
        _tag: "Refused",
        code: 501,
        message: "not a connect answer; no encryption (code 502); not today (code 501)"
      })
    }).pipe(Effect.scoped)
  )

  it.live("goes to the next destination when one refuses, or says something that cannot be understood", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      yield* answering(yield* guest("destination"), CONNECTED, echoing("last:"))
      yield* answering(yield* guest("destination"), { _tag: "Refused", code: 501, message: "no" })
      for (const bytes of ["ffffffff", "0000000208ff"]) {
        const garbled = yield* guest("destination")
        yield* garbled.connection.accept.pipe(
          Effect.tap((stream) => Effect.sync(() => stream.write(Buffer.from(bytes, "hex")))),
          Effect.forever,
          Effect.ignore,
          Effect.forkScoped
        )
      }
      const { stream, answer } = yield* ask(source)
      assert.strictEqual(answer._tag, "Connected")
      stream.end("x")
      assert.strictEqual(yield* text(stream), "last:x")
    }).pipe(Effect.scoped)
  )

  it.live("goes to the destination that is meant, and to no other", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      const destinations = [yield* guest("destination"), yield* guest("destination"), yield* guest("destination")]
      for (const destination of destinations) yield* answering(destination, CONNECTED, echoing(keyOf(destination)))
      for (const destination of destinations) {
        const { stream } = yield* ask(source, { ...CONNECT, destinationKey: keyOf(destination) })
        stream.end()
        assert.strictEqual(yield* text(stream), keyOf(destination))
      }
      const refusing = yield* guest("destination")
      yield* answering(refusing, { _tag: "Refused", code: 501, message: "no" })
      const answer = yield* answerTo(source, { ...CONNECT, destinationKey: keyOf(refusing) })
      assert.deepInclude(answer, { _tag: "Refused", code: 501, message: "no (code 501)" })
    }).pipe(Effect.scoped)
  )

  it.live("with anything else than a connect request is refused, and harms no other", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      yield* answering(yield* guest("destination"), CONNECTED, echoing("hello:"))
      const { stream } = yield* ask(source)
      assert.deepInclude(yield* answerTo(source, { _tag: "Check" }), { _tag: "Refused", code: 1 })
      const garbled = yield* source.connection.open
      garbled.write(Buffer.from("0000000208ff", "hex"))
      const answer = yield* receive(garbled, Connect.connectResponse, source.messages)
      assert.deepInclude(answer, { _tag: "Refused", code: 1 })
      const huge = yield* source.connection.open
      huge.write(Buffer.from("7fffffff", "hex"))
      assert.strictEqual(yield* text(huge), "")
      stream.end("still there")
      assert.strictEqual(yield* text(stream), "hello:still there")
    }).pipe(Effect.scoped)
  )

  it.live("goes to the next destination when one allows no more streams", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay({ network: { maxStreams: 8 } })
      const far = yield* guest("destination")
      yield* answering(far, CONNECTED, echoing("far:"))
      const full = yield* guest("destination")
      yield* answering(full, CONNECTED, echoing("full:"))
      const wish = { ...CONNECT, destinationKey: keyOf(full) }
      const taken: Array<TransportStream> = []
      for (const source of [yield* guest("source"), yield* guest("source")]) {
        for (let count = 0; count < 4; count++) taken.push((yield* ask(source, wish)).stream)
      }
      const source = yield* guest("source")
      const { stream, answer } = yield* ask(source)
      assert.strictEqual(answer._tag, "Connected")
      stream.end("x")
      assert.strictEqual(yield* text(stream), "far:x")
      const refused = yield* answerTo(source, wish)
      assert.deepInclude(refused, { _tag: "Refused", message: "it allows no more streams at the moment" })
      for (const held of taken) held.destroy()
      yield* eventually(answerTo(source, wish), ({ _tag }) => _tag === "Connected")
    }).pipe(Effect.scoped)
  )

  it.live("leaves a silent destination for the next one within about a second, and returns when it answers again", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* guest("source")
      yield* answering(yield* guest("destination"), CONNECTED, echoing("second"))
      let cut = false
      const silent = yield* guest("destination", { link: { delayMillis: () => 0, cut: () => cut } })
      yield* answering(silent, CONNECTED, echoing("first"))
      cut = true
      const visit = Effect.gen(function* () {
        const { stream } = yield* ask(source)
        stream.end()
        return yield* text(stream)
      })
      const timed = Effect.gen(function* () {
        const began = performance.now()
        assert.strictEqual(yield* visit, "second")
        return performance.now() - began
      })
      assert.isBelow(yield* timed, 2_500)
      // To wait for it once more would take 1,100 ms.
      assert.isBelow(yield* timed, 900)
      cut = false
      yield* eventually(visit, (who) => who === "first")
    }).pipe(Effect.scoped)
  )

  it.live("carries what is said as it is, between any frame widths", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      for (const [from, to] of [
        [NEW, OLD],
        [OLD, NEW],
        [OLD, OLD]
      ] as const) {
        const source = yield* guest("source", { protocols: [from] })
        const destination = yield* guest("destination", { protocols: [to] })
        assert.deepEqual(
          [source.messages.width, destination.messages.width],
          [from === NEW ? 4 : 8, to === NEW ? 4 : 8]
        )
        // Field 99 is known to nobody.
        const unknown = Buffer.from("9a0603616263", "hex")
        const request = Buffer.concat([Connect.connectRequest.encode(CONNECT), unknown])
        const response = Buffer.concat([Connect.connectResponse.encode(CONNECTED), unknown])
        const stream = yield* source.connection.open
        yield* sendFrame(stream, request, source.messages)
        const asked = yield* destination.connection.accept
        assert.deepEqual(yield* receiveFrame(asked, destination.messages), request)
        asked.write(Buffer.concat([encodeFrame(response, destination.messages.width), Buffer.from("at once")]))
        assert.deepEqual(yield* receiveFrame(stream, source.messages), response)
        assert.strictEqual((yield* decode(Connect.connectResponse, response))._tag, "Connected")
        asked.end(", and later")
        assert.strictEqual(yield* text(stream), "at once, and later")
        // The other direction goes on after the end of the first one.
        stream.end("thank you")
        assert.strictEqual(yield* text(asked), "thank you")
        yield* destination.connection.close(0, "")
      }
    }).pipe(Effect.scoped)
  )

  it.live("may begin right behind its request: that goes to whoever accepts it, and to nobody who refuses", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const heard: Array<string> = []
      let asked = 0
      const destinations = [yield* guest("destination"), yield* guest("destination")]
      const source = yield* guest("source")
      for (const destination of destinations) {
        yield* Effect.gen(function* () {
          const stream = yield* destination.connection.accept
          yield* receive(stream, Connect.connectRequest, destination.messages)
          const answer = asked++ === 0 ? ({ _tag: "Refused", code: 501, message: "no" } as const) : CONNECTED
          yield* send(stream, Connect.connectResponse, answer, destination.messages)
          heard.push(`${answer._tag}: ${yield* text(stream)}`)
          stream.end()
        }).pipe(Effect.ignore, Effect.forkScoped)
      }
      const stream = yield* source.connection.open
      const request = encodeFrame(Connect.connectRequest.encode(CONNECT), source.messages.width)
      stream.end(Buffer.concat([request, Buffer.from("at once")]))
      assert.deepEqual(yield* receive(stream, Connect.connectResponse, source.messages), CONNECTED)
      assert.strictEqual(yield* text(stream), "")
      assert.deepEqual(heard, ["Connected: at once"])
    }).pipe(Effect.scoped)
  )

  it.live("is not read any further than a stream holds until a destination has accepted it", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const [source, destination] = [yield* guest("source"), yield* guest("destination")]
      const stream = yield* source.connection.open
      yield* send(stream, Connect.connectRequest, CONNECT, source.messages)
      const piece = Buffer.alloc(65_536)
      for (let sent = 0; sent < 64; sent++) stream.write(piece)
      const asked = yield* destination.connection.accept
      yield* receive(asked, Connect.connectRequest, destination.messages)
      for (let turn = 0; turn < 50; turn++) yield* Effect.promise(() => new Promise<void>((next) => setImmediate(next)))
      assert.strictEqual(asked.readableLength, 0)
      assert.isAbove(stream.writableLength, 60 * piece.length)
      yield* send(asked, Connect.connectResponse, CONNECTED, destination.messages)
      stream.end()
      assert.strictEqual((yield* text(asked)).length, 64 * piece.length)
    }).pipe(Effect.scoped)
  )

  it.live("passes a reset on, in both directions, and the end of a link as a reset", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const [source, destination] = [yield* guest("source"), yield* guest("destination")]
      const accepted: Array<TransportStream> = []
      yield* answering(destination, CONNECTED, (stream) => accepted.push(stream))
      const pair = Effect.gen(function* () {
        const { stream } = yield* ask(source)
        return { near: stream, far: accepted.at(-1)! }
      })
      const one = yield* pair
      one.near.reset(7)
      assert.strictEqual(yield* failure(one.far), "StreamReset")
      const two = yield* pair
      two.far.reset(7)
      assert.strictEqual(yield* failure(two.near), "StreamReset")
      const three = yield* pair
      yield* destination.connection.close(0, "")
      assert.strictEqual(yield* failure(three.near), "StreamReset")
    }).pipe(Effect.scoped)
  )

  it.live("leaves nothing behind when the source goes while a destination is asked", () =>
    Effect.gen(function* () {
      const { guest, streams, own } = yield* makeWorldWithRelay()
      const [source, destination] = [yield* guest("source"), yield* guest("destination")]
      const before = yield* eventually(Effect.sync(streams), (count) => count === streams())
      const stream = yield* source.connection.open
      yield* send(stream, Connect.connectRequest, CONNECT, source.messages)
      const asked = yield* destination.connection.accept
      stream.destroy()
      assert.strictEqual(yield* failure(asked), "StreamReset")
      yield* eventually(Effect.sync(streams), (count) => count <= before)

      const another = yield* guest("source")
      const open = yield* another.connection.open
      yield* send(open, Connect.connectRequest, CONNECT, another.messages)
      const askedAgain = yield* destination.connection.accept
      yield* another.connection.close(0, "")
      assert.strictEqual(yield* failure(askedAgain), "StreamReset")
      yield* eventually(
        Effect.sync(() => own.counts().streams),
        (count) => count <= 1
      )
    }).pipe(Effect.scoped)
  )

  it.live("is not for destinations to open", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay()
      const destination = yield* guest("destination")
      const stream = yield* destination.connection.open
      stream.write(encodeFrame(Connect.connectRequest.encode(CONNECT), 4))
      assert.strictEqual(yield* failure(stream), "StreamReset")
      yield* answering(destination, CONNECTED)
      assert.strictEqual((yield* answerTo(yield* guest("source")))._tag, "Connected")
    }).pipe(Effect.scoped)
  )

  it.live("is one of so many of a link as the limit says, and one that ends makes room", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay({ limits: { streamsPerLink: 2 } })
      const [source, other] = [yield* guest("source"), yield* guest("source")]
      yield* answering(yield* guest("destination"), CONNECTED, echoing(""))
      yield* answering(yield* guest("destination"), CONNECTED, echoing(""))
      const first = yield* ask(source)
      yield* ask(source)
      const refused = yield* answerTo(source)
      assert.deepInclude(refused, { _tag: "Refused", code: 501 })
      assert.match((refused as { message: string }).message, /at most 2 streams/)
      assert.strictEqual((yield* ask(other)).answer._tag, "Connected")
      first.stream.end()
      assert.strictEqual(yield* text(first.stream), "")
      yield* eventually(answerTo(source), ({ _tag }) => _tag === "Connected")
    }).pipe(Effect.scoped)
  )

  it.live("goes no faster than the limit of its link says, and to its last byte", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay({ limits: { bytesPerSecondPerLink: 200_000 } })
      const source = yield* guest("source")
      yield* answering(yield* guest("destination"), CONNECTED, echoing(""))
      const began = performance.now()
      const sizes = yield* Effect.forEach(
        [40_000, 40_000],
        Effect.fnUntraced(function* (size) {
          const { stream } = yield* ask(source)
          stream.end("x".repeat(size))
          return (yield* text(stream)).length
        }),
        { concurrency: 2 }
      )
      assert.deepEqual(sizes, [40_000, 40_000])
      // 80,000 bytes at this rate, less the tenth of a second that may go at once.
      assert.isAtLeast(performance.now() - began, 290)
    }).pipe(Effect.scoped)
  )

  it.live("harms nobody when its source has gone by the time that it is answered", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay({ limits: { bytesPerSecondPerLink: 1_000_000 } })
      const link = { delayMillis: () => 5, cut: () => false }
      const [source, destination] = [yield* guest("source", { link }), yield* guest("destination")]
      for (let round = 0; round < 5; round++) {
        const stream = yield* source.connection.open
        yield* send(stream, Connect.connectRequest, CONNECT, source.messages)
        const asked = yield* destination.connection.accept
        yield* receiveFrame(asked, destination.messages)
        // The answer and the farewell cross on their way.
        stream.destroy()
        asked.write(encodeFrame(Connect.connectResponse.encode(CONNECTED), 4))
        assert.strictEqual(yield* failure(asked), "StreamReset")
      }
      yield* answering(destination, CONNECTED, echoing("well"))
      const { stream } = yield* ask(source)
      stream.end()
      assert.strictEqual(yield* text(stream), "well")
    }).pipe(Effect.scoped)
  )

  it.effect("is refused with a reason when no destination answers in time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.now())
      const { guest } = yield* makeWorldWithRelay()
      const source = yield* TestClock.withLive(guest("source"))
      const destination = yield* TestClock.withLive(guest("destination"))
      const asking = yield* Effect.forkScoped(answerTo(source))
      yield* destination.connection.accept
      yield* passing(31_000)
      const answer = asking.pollUnsafe()
      assert.deepInclude(answer?._tag === "Success" ? answer.value : undefined, {
        _tag: "Refused",
        code: 501,
        message: "no destination has answered within 30 seconds"
      })
    }).pipe(Effect.scoped)
  )
})
