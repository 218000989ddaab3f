import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { type AddressInfo, createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import { issueClient, issueServer } from "../../src/certs/issue.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import {
  type Connection,
  type DialTarget,
  type Endpoint,
  StreamReset,
  Transport,
  type TransportStream
} from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"
import * as Tcp from "../../src/transport/tcp/Tcp.ts"
import { transportCompliance } from "../compliance/transport.ts"
import { full } from "../full.ts"
import { slowLink } from "./slowLink.ts"

const OPENERS = ["dialer", "listener"] as const
const MIB = 1024 * 1024
const ANY_PORT: SocketAddress = { host: "127.0.0.1", port: 0 }

for (const opener of OPENERS) {
  const abandoned = full(12_000, 2_000)
  const subject = { layer: Tcp.layer, link: slowLink, dialsFromItsPort: false, opener, abandoned }
  transportCompliance(`Tcp, its streams opened by the ${opener}`, subject)
}

const bind = Effect.flatMap(Transport, (transport) => transport.bind({ address: ANY_PORT }))

const listen = Effect.fnUntraced(function* (trust: Trust = Trust.expected(() => true)) {
  const endpoint = yield* bind
  return {
    endpoint,
    listener: yield* endpoint.listen({ protocols: ["x"], identity: yield* issueServer(["a"]), trust })
  }
})

const dial = Effect.fnUntraced(function* (
  endpoint: Endpoint,
  target: Partial<DialTarget> & { address: SocketAddress }
) {
  const identity = yield* issueClient
  return yield* endpoint.dial({
    protocols: ["x"],
    trust: Trust.expected(() => true),
    identity,
    timeout: "5 seconds",
    ...target
  })
})

const connected = Effect.fnUntraced(function* (
  options: { opener?: DialTarget["opener"]; delayMillis?: number; trust?: Trust } = {}
) {
  const near = yield* bind
  const { endpoint, listener } = yield* listen(options.trust)
  const { delayMillis, opener } = options
  const address = delayMillis ? (yield* slowLink(endpoint.address, { delayMillis })).address : endpoint.address
  const [ours, theirs] = yield* Effect.all([dial(near, { address, opener }), listener.accept], { concurrency: 2 })
  return { near, far: endpoint, ours, theirs }
})

/** How reading to the end went: the bytes, or why there is no end. */
const outcome = (stream: TransportStream) =>
  Effect.promise(
    () =>
      new Promise<number | Error>((resolve) => {
        let bytes = 0
        stream.on("data", (chunk) => {
          bytes += chunk.length
        })
        stream.once("end", () => resolve(bytes))
        stream.once("close", () => resolve(stream.errored ?? new Error("closed without an end")))
      })
  )

const closed = (stream: TransportStream) =>
  Effect.promise(async () => {
    if (!stream.closed) await new Promise((resolve) => stream.once("close", resolve))
  })

const turns = (count: number) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
  })

/** Goes on until nothing more is sent, which is known after two round trips without a byte of a stream. */
const untilStalled = Effect.fnUntraced(function* (connection: Connection) {
  for (let last = -1; ; ) {
    yield* Effect.all([connection.probe, turns(10)])
    const { bytesSent } = connection.traffic()
    if (bytesSent - last < 1_000) return
    last = bytesSent
  }
})

const test = (behaviour: string, body: () => Effect.Effect<void, unknown, Transport | Scope.Scope>) =>
  it.live(behaviour, () => Effect.scoped(Effect.suspend(body)).pipe(Effect.provide(Tcp.layer())))

describe("Tcp", () => {
  test("a port where nobody listens refuses at once", () =>
    Effect.gen(function* () {
      const near = yield* bind
      const address = yield* Effect.scoped(Effect.map(bind, (gone) => gone.address))
      const { reason } = yield* Effect.flip(Effect.scoped(dial(near, { address })))
      assert.strictEqual(reason._tag, "Unreachable")
      assert.strictEqual(reason.message, "connection refused (ECONNREFUSED)")
    }))

  test("a server that never answers in TLS is given up at the deadline", () =>
    Effect.gen(function* () {
      const near = yield* bind
      const silent = createServer()
      yield* Effect.addFinalizer(() => Effect.sync(() => silent.close()))
      yield* Effect.promise(() => once(silent.listen(0, "127.0.0.1"), "listening"))
      const address = { host: "127.0.0.1", port: (silent.address() as AddressInfo).port }
      const { reason } = yield* Effect.flip(Effect.scoped(dial(near, { address, timeout: "100 millis" })))
      assert.strictEqual(reason._tag, "DialTimedOut")
      assert.deepEqual(near.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
    }))

  for (const opener of OPENERS) {
    describe(`with streams of the ${opener}`, () => {
      for (const from of ["dialer", "listener"] as const) {
        const ends = Effect.map(connected({ opener }), ({ ours, theirs }) =>
          from === "dialer" ? ([ours, theirs] as const) : ([theirs, ours] as const)
        )

        test(`bytes that the ${from} did not send before it gave up are never taken for all there were`, () =>
          Effect.gen(function* () {
            const [opening, accepting] = yield* ends
            const bytes = randomBytes(4 * MIB + 1)
            for (let round = 0; round < 100; round++) {
              const opened = yield* opening.open
              opened.write(bytes.subarray(0, 1 + (round % 3) * 2 * MIB))
              if (round % 2 === 0) opened.end()
              const accepted = yield* accepting.accept
              const reading = yield* Effect.forkChild(outcome(accepted), { startImmediately: true })
              yield* turns(round % 7)
              const sent = opened.writableFinished
              opened.destroy()
              const read = yield* Fiber.join(reading)
              if (sent) assert.strictEqual(read, 1 + (round % 3) * 2 * MIB)
              else if (typeof read === "number") assert.isTrue(round % 2 === 0 && read === 1 + (round % 3) * 2 * MIB)
              else assert.instanceOf(read, StreamReset)
            }
          }))

        test(`an upload of the ${from} that nobody reads is not taken for an end when it is cut`, () =>
          Effect.gen(function* () {
            const [opening, accepting] = yield* ends
            const opened = yield* opening.open
            opened.end(Buffer.alloc(16 * MIB))
            const accepted = yield* accepting.accept
            yield* untilStalled(opening)
            opened.destroy()
            assert.instanceOf(yield* outcome(accepted), StreamReset)
          }))

        test(`a writer of the ${from} learns that it was reset, also in the middle of a write`, () =>
          Effect.gen(function* () {
            const [opening, accepting] = yield* ends
            const opened = yield* opening.open
            opened.write(Buffer.alloc(16 * MIB))
            const accepted = yield* accepting.accept
            yield* untilStalled(opening)
            accepted.reset(7)
            yield* closed(opened)
            assert.instanceOf(opened.errored, StreamReset)
            assert.strictEqual((opened.errored as StreamReset).code, 7)
          }))

        test(`what the ${from} had finished can be read, though it reads nothing itself any more`, () =>
          Effect.gen(function* () {
            const [opening, accepting] = yield* ends
            const opened = yield* opening.open
            yield* Effect.promise(() => new Promise<void>((resolve) => opened.end(Buffer.alloc(100_000), resolve)))
            opened.destroy()
            const accepted = yield* accepting.accept
            assert.strictEqual(yield* outcome(accepted), 100_000)
            yield* closed(accepted)
            assert.strictEqual(accepted.errored?.name, "StreamStopped")
          }))

        test(`300 streams of the ${from} at once do not wait for each other`, () =>
          Effect.gen(function* () {
            const delayMillis = 20
            const { ours, theirs } = yield* connected({ opener, delayMillis })
            const [opening, accepting] = from === "dialer" ? [ours, theirs] : [theirs, ours]
            const began = performance.now()
            const opened = yield* Effect.all(Array.from({ length: 300 }, () => opening.open))
            for (const stream of opened) stream.write("hello")
            for (let at = 0; at < opened.length; at++) yield* accepting.accept
            assert.isBelow(performance.now() - began, 300 * delayMillis)
          }))
      }

      test("a stream without bytes is not seen by the other end", () =>
        Effect.gen(function* () {
          const { near, far, ours, theirs } = yield* connected({ opener })
          const seen = yield* Effect.forEach([ours, theirs], ({ accept }) => Effect.forkChild(accept))
          yield* Effect.all([ours.open, theirs.open])
          yield* Effect.all([ours.probe, theirs.probe])
          for (const fiber of seen) {
            assert.isUndefined(fiber.pollUnsafe())
            yield* Fiber.interrupt(fiber)
          }
          assert.deepEqual([near.counts().streams, far.counts().streams], [1, 1])
        }))

      test("the round trip is known from the start, and traffic is counted", () =>
        Effect.gen(function* () {
          const { ours, theirs } = yield* connected({ opener, delayMillis: 10 })
          for (const connection of [ours, theirs]) {
            yield* connection.probe
            const { roundTripMillis, bytesSent, bytesReceived, streamsLeft } = connection.traffic()
            assert.isAtLeast(roundTripMillis!, 19)
            assert.isAbove(bytesSent, 50)
            assert.isAbove(bytesReceived, 50)
            assert.strictEqual(streamsLeft, 10_000)
          }
          const opened = yield* ours.open
          opened.write(Buffer.alloc(100_000))
          assert.strictEqual(ours.traffic().streamsLeft, 9_999)
          yield* outcome((yield* theirs.accept).end()).pipe(Effect.timeoutOption("1 millis"))
          yield* untilStalled(ours)
          assert.isAbove(theirs.traffic().bytesReceived, 100_000)
        }))
    })
  }

  it.live("without datagrams the UDP port of the same number is left alone", () =>
    Effect.gen(function* () {
      const [silent, other] = yield* Effect.all([bind, bind])
      yield* silent.datagrams.send(other.address, Buffer.from("dropped"))
      const beside = yield* Effect.flatMap(Transport, (transport) => transport.bind({ address: silent.address })).pipe(
        Effect.flip
      )
      assert.strictEqual(beside.reason._tag, "BindFailed")
      assert.strictEqual((yield* Effect.timeoutOption(silent.datagrams.receive, "1 millis"))._tag, "None")
    }).pipe(Effect.scoped, Effect.provide(Tcp.layer({ datagrams: false })))
  )
})
