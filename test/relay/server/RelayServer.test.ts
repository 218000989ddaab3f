/** A relay and the links of its clients, played by the test: who gets in, and what becomes of his streams. */
import { once } from "node:events"
import type { Duplex } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { certificateKey } from "../../../src/certs/certificateKey.ts"
import { issueClient } from "../../../src/certs/issue.ts"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import { Alpn } from "../../../src/protocol/Alpn.ts"
import * as Connect from "../../../src/protocol/Connect.ts"
import { encodeFrame } from "../../../src/protocol/Frame.ts"
import { decode, receive, receiveFrame, send, sendFrame } from "../../../src/protocol/MessageStream.ts"
import { sealAuthentication } from "../../../src/protocol/RelayControl.ts"
import type { Connection, TransportStream } from "../../../src/transport/Transport.ts"
import { eventually, type Guest, makeWorld, type RelayStart, WEB } from "../World.ts"

const CONNECT: Connect.ConnectRequest = { _tag: "Connect", encryptions: [] }
const CONNECTED: Connect.ConnectResponse = { _tag: "Connected", proxy: "none", encryption: "none" }
const [NEW, OLD] = Alpn.relay

const world = Effect.fnUntraced(function* (start: RelayStart = {}) {
  const world = yield* makeWorld
  const control = yield* world.startControl()
  const relay = yield* world.startRelay(start)
  return { ...world, control, relay }
})

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

/** Asks for a connection. */
const ask = Effect.fnUntraced(function* (guest: Guest, request: Connect.ConnectRequest = CONNECT) {
  const stream = yield* guest.connection.open
  yield* send(stream, Connect.connectRequest, request, guest.messages)
  const answer = yield* receive(stream, Connect.connectResponse, guest.messages)
  return { stream, answer }
})

const answerTo = (guest: Guest, request?: Connect.ConnectRequest) =>
  Effect.map(ask(guest, request), ({ answer, stream }) => {
    stream.destroy()
    return answer
  })

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

const closedBy = Effect.fnUntraced(function* (connection: Connection, code: number) {
  assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code })
})

describe("a link to a relay", () => {
  it.live("is let in with what control vouched for, and with nothing else", () =>
    Effect.gen(function* () {
      const { guest, dial, at, enter, theOffer, offersFor } = yield* world()
      const first = yield* guest("source")
      assert.strictEqual(first.answer._tag, "Accepted")
      const somebody = yield* issueClient
      const right = (yield* theOffer(yield* offersFor(somebody.leaf.raw, "source"))).authentication
      const forged = sealAuthentication(new Uint8Array(32), {
        endpoint: WEB,
        role: "source",
        certificateKey: certificateKey(somebody.leaf.raw)
      })
      const changed = Uint8Array.from(right)
      changed[30]! ^= 1
      const tries = [
        { shown: somebody, authentication: forged, message: /did not make/ },
        { shown: somebody, authentication: changed, message: /did not make/ },
        { shown: somebody, authentication: right.subarray(0, 24), message: /did not make/ },
        { shown: somebody, authentication: new Uint8Array(), message: /did not make/ },
        { shown: somebody, authentication: new Uint8Array(5_000), message: /longer than/ },
        { shown: yield* issueClient, authentication: right, message: /another certificate/ },
        { shown: somebody, authentication: first.authentication, message: /another certificate/ }
      ]
      const refused = Effect.fnUntraced(function* ({ shown, authentication, message }: (typeof tries)[number]) {
        const connection = yield* dial(at.relay, Alpn.relay, shown)
        const answer = yield* enter(connection, authentication)
        assert.deepInclude(answer, { _tag: "Refused", code: 100 })
        assert.match((answer as { message: string }).message, message)
        yield* closedBy(connection, 100)
      })
      const malformed = Effect.fnUntraced(function* (bytes: string, protocol: string) {
        const connection = yield* dial(at.relay, [protocol], somebody)
        ;(yield* connection.open).write(Buffer.from(bytes, "hex"))
        yield* closedBy(connection, 100)
      })
      yield* Effect.all(
        [
          ...tries.map(refused),
          ...["0000000208ff", "00010001", "ffffffff"].map((bytes) => malformed(bytes, NEW)),
          malformed("ffffffffffffffff", OLD)
        ],
        { concurrency: "unbounded" }
      )
      assert.deepInclude(yield* answerTo(first), { _tag: "Refused", code: 500 })
    }).pipe(Effect.scoped)
  )

  it.live("must show a certificate", () =>
    Effect.gen(function* () {
      const { dial, at } = yield* world()
      yield* closedBy(yield* dial(at.relay, Alpn.relay), 100)
    }).pipe(Effect.scoped)
  )

  it.live("is refused by a relay that never reached control", () =>
    Effect.gen(function* () {
      const { startRelay, dial, at, enter } = yield* makeWorld
      yield* startRelay()
      const connection = yield* dial(at.relay, Alpn.relay, yield* issueClient)
      assert.deepInclude(yield* enter(connection, new Uint8Array(80)), { _tag: "Refused", code: 100 })
      yield* closedBy(connection, 100)
    }).pipe(Effect.scoped)
  )

  it.live("is let in by a relay that has lost control, with what control said before", () =>
    Effect.gen(function* () {
      const { guest, control, dial, at, enter } = yield* world()
      const first = yield* guest("source")
      yield* control.stop
      const again = yield* dial(at.relay, Alpn.relay, first.identity)
      assert.strictEqual((yield* enter(again, first.authentication))._tag, "Accepted")
    }).pipe(Effect.scoped)
  )

  it.live("is closed when more comes before the hello than a hello needs", () =>
    Effect.gen(function* () {
      const { dial, at, guest } = yield* world()
      const connection = yield* dial(at.relay, Alpn.relay, yield* issueClient)
      const streams = yield* Effect.forEach(Array.from({ length: 5 }), () => connection.open)
      for (const stream of streams) stream.write(Buffer.alloc(60 * 1024))
      yield* closedBy(connection, 100)
      assert.strictEqual((yield* guest("source")).answer._tag, "Accepted")
    }).pipe(Effect.scoped)
  )

  it.effect("is closed when the hello does not come, or not to its end, within its time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.now())
      const { dial, at, own } = yield* world()
      for (const bytes of [undefined, "0000"]) {
        const connection = yield* dial(at.relay, Alpn.relay, yield* issueClient)
        if (bytes !== undefined) (yield* connection.open).write(Buffer.from(bytes, "hex"))
        yield* passing(4_500)
        assert.isUndefined(connection.ended())
        yield* passing(2_500)
        assert.deepInclude(connection.ended(), { _tag: "Closed", by: "peer" })
      }
      assert.strictEqual(own.counts().connections, 0)
    }).pipe(Effect.scoped)
  )

  it.live("is one of so many of an address as the limit says; who leaves makes room at once", () =>
    Effect.gen(function* () {
      const { guest } = yield* world({ limits: { linksPerAddress: 2 } })
      const [first, second] = [yield* guest("source"), yield* guest("destination")]
      assert.deepEqual([first.answer._tag, second.answer._tag], ["Accepted", "Accepted"])
      const third = yield* guest("source")
      assert.deepInclude(third.answer, { _tag: "Refused", code: 100 })
      assert.match((third.answer as { message: string }).message, /at most 2 links/)
      yield* second.connection.close(0, "")
      // The one that was refused has not read its answer yet, and does not count.
      assert.strictEqual((yield* guest("source")).answer._tag, "Accepted")
    }).pipe(Effect.scoped)
  )
})

describe("a stream through a relay", () => {
  it.live("is refused when no destination is there, or not the one that is meant", () =>
    Effect.gen(function* () {
      const { guest } = yield* world()
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
      const { guest } = yield* world()
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
      const { guest } = yield* world()
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
      const { guest } = yield* world()
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
      const { guest } = yield* world()
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

  it.live("leaves a silent destination for the next one within about a second, and returns when it answers again", () =>
    Effect.gen(function* () {
      const { guest } = yield* world()
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
      assert.approximately(yield* timed, 1_100, 400)
      assert.isBelow(yield* timed, 200)
      cut = false
      yield* eventually(visit, (who) => who === "first")
    }).pipe(Effect.scoped)
  )

  it.live("carries what is said as it is, between any frame widths", () =>
    Effect.gen(function* () {
      const { guest } = yield* world()
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

  it.live("passes a reset on, in both directions, and the end of a link as a reset", () =>
    Effect.gen(function* () {
      const { guest } = yield* world()
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
      const { guest, streams, own } = yield* world()
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
      const { guest } = yield* world()
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
      const { guest } = yield* world({ limits: { streamsPerLink: 2 } })
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
      const { guest } = yield* world({ limits: { bytesPerSecondPerLink: 200_000 } })
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
      const { guest } = yield* world({ limits: { bytesPerSecondPerLink: 1_000_000 } })
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
      const { guest } = yield* world()
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

/** So much time passes, and everybody has his turn in it. */
const passing = Effect.fnUntraced(function* (millis: number) {
  for (let passed = 0; passed < millis; passed += 100) {
    yield* TestClock.adjust(100)
    yield* Effect.promise(() => new Promise(setImmediate))
  }
})
