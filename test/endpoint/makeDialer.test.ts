import { once } from "node:events"
import { duplexPair } from "node:stream"
import { setImmediate } from "node:timers/promises"
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Logger, Scope, SubscriptionRef } from "effect"
import { makeDialer } from "../../src/endpoint/makeDialer.ts"
import { FirstBytes } from "../../src/endpoint/source/FirstBytes.ts"
import { messageOptions } from "../../src/peer/DirectLink.ts"
import { peerKey } from "../../src/peer/peerKey.ts"
import { type ConnectResponse, connectRequest, connectResponse } from "../../src/protocol/Connect.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import type { Connection } from "../../src/transport/Transport.ts"
import { endpointWith, listedPeer, makeLinks } from "./links.ts"

/** A destination that takes every connection and says its name, with the answer and the first bytes in one go. */
const taking = (name: string) => (connection: Connection) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      const request = yield* receive(stream, connectRequest, messageOptions(connection))
      assert.deepStrictEqual(request, { _tag: "Connect", encryptions: [] })
      yield* send(
        stream,
        connectResponse,
        { _tag: "Connected", proxy: "none", encryption: "none" },
        messageOptions(connection)
      )
      stream.end(name)
    }
  }).pipe(Effect.ignore)

const refusing = (connection: Connection) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      yield* receive(stream, connectRequest, messageOptions(connection))
      yield* send(
        stream,
        connectResponse,
        { _tag: "Refused", code: 501, message: "no service" },
        messageOptions(connection)
      )
      stream.end().resume()
    }
  }).pipe(Effect.ignore)

/** Takes the stream and says nothing, like a slow service. */
const dawdling = (connection: Connection) => Effect.ignore(Effect.forever(connection.accept))

const name = Effect.fnUntraced(function* (dial: ReturnType<ReturnType<typeof makeDialer>>) {
  const { stream } = yield* dial
  let said = ""
  stream.on("data", (part) => {
    said += part
  })
  yield* Effect.promise(() => once(stream, "end"))
  return said
}, Effect.scoped)

/** A destination that answers only when it has heard so many bytes of the user, and hands on what it is told then. */
const hearing = (length: number, heard: (text: string) => void, answer: ConnectResponse) => (connection: Connection) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      yield* receive(stream, connectRequest, messageOptions(connection))
      yield* Effect.promise(async () => {
        while (stream.readableLength < length) await once(stream, "readable")
      })
      heard(String(stream.read() ?? ""))
      yield* send(stream, connectResponse, answer, messageOptions(connection))
      stream.resume()
    }
  }).pipe(Effect.ignore)

const CONNECTED: ConnectResponse = { _tag: "Connected", proxy: "none", encryption: "none" }
const REFUSED: ConnectResponse = { _tag: "Refused", code: 501, message: "no service" }

/** A user who has said something. */
const saying = (text: string) => {
  const [user, far] = duplexPair()
  user.write(text)
  return new FirstBytes(far)
}

layer(Logger.layer([]), { excludeTestServices: true })("the dialer of a source", (it) => {
  it.effect("takes the best path, and leaves the bytes after the answer to the user", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(taking("near")), yield* link(taking("far"))])
      assert.strictEqual(yield* name(makeDialer(endpoint)()), "near")
    })
  )

  it.effect("goes on to the next path when one refuses", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(refusing), yield* link(taking("far"))])
      assert.strictEqual(yield* name(makeDialer(endpoint)()), "far")
    })
  )

  it.effect("fails at once with every refusal when all refuse", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(refusing), yield* link(refusing)])
      const { reason } = yield* Effect.flip(Effect.scoped(makeDialer(endpoint)()))
      assert.lengthOf(reason._tag === "ConnectFailed" ? reason.causes : [], 2)
      assert.match(reason.message, /no service \(code 501\)/)
    })
  )

  it.effect("leaves a path that is silent for another one within two seconds, and makes it suspect", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const silent = yield* link(taking("silent"))
      const endpoint = yield* endpointWith([silent, yield* link(taking("far"))])
      silent.cut()
      const startedAt = performance.now()
      assert.strictEqual(yield* name(makeDialer(endpoint)()), "far")
      assert.isBelow(performance.now() - startedAt, 2_000)
      assert.deepStrictEqual(
        (yield* SubscriptionRef.get(endpoint.paths)).map(({ state }) => state),
        ["Suspect", "Open"]
      )
    })
  )

  it.effect("leaves a suspect path as soon as a new one opens", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const silent = yield* link(taking("silent"))
      const endpoint = yield* endpointWith([silent])
      silent.cut()
      const [path] = yield* SubscriptionRef.get(endpoint.paths)
      yield* path!.doubted
      const [opened] = yield* SubscriptionRef.get((yield* endpointWith([yield* link(taking("new"))])).paths)
      yield* SubscriptionRef.update(endpoint.paths, (all) => [...all, opened!]).pipe(
        Effect.delay("200 millis"),
        Effect.forkChild
      )
      const startedAt = performance.now()
      assert.strictEqual(yield* name(makeDialer(endpoint)()), "new")
      // The silence of the other one alone would take more than a second.
      assert.isBelow(performance.now() - startedAt, 1_000)
    })
  )

  it.effect("waits for a slow service, and gives its stream back after the dial timeout", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const slow = yield* link(dawdling)
      const endpoint = yield* endpointWith([slow])
      const startedAt = performance.now()
      yield* Effect.flip(Effect.scoped(makeDialer(endpoint, Duration.millis(1_500))()))
      assert.isAbove(performance.now() - startedAt, 1_400)
      const [path] = yield* SubscriptionRef.get(endpoint.paths)
      // A stream says that it is closed a moment after it was destroyed.
      yield* Effect.promise(() => setImmediate())
      assert.deepStrictEqual([path?.state, path?.streams()], ["Open", 0])
    })
  )

  it.effect("sends the first bytes right behind the request, and again to the next one after a refusal", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const heard: Array<string> = []
      const links = [
        yield* link(hearing(5, (text) => heard.push(`near ${text}`), REFUSED)),
        yield* link(hearing(5, (text) => heard.push(`far ${text}`), CONNECTED))
      ]
      const peers = ["near", "far"].map((id) => listedPeer(id, { earlyData: true }))
      const { path } = yield* makeDialer(yield* endpointWith(links, peers))(saying("hello"))
      assert.strictEqual(path.peerId, peerKey(peers[1]!))
      assert.deepStrictEqual(heard, ["near hello", "far hello"])
    }).pipe(Effect.scoped)
  )

  it.effect("sends nothing before the answer to who has not announced that he takes it", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const heard: Array<string> = []
      const links = [
        yield* link(hearing(5, (text) => heard.push(text), REFUSED)),
        yield* link(hearing(0, (text) => heard.push(text), CONNECTED))
      ]
      const peers = [listedPeer("ours", { earlyData: true }), listedPeer("upstream's")]
      const firstBytes = saying("hello")
      const { stream } = yield* makeDialer(yield* endpointWith(links, peers))(firstBytes)
      assert.deepStrictEqual(heard, ["hello", ""])
      const written: Array<string> = []
      stream.write = (chunk: Buffer) => written.push(String(chunk)) > 0
      firstBytes.handOver(stream)
      assert.deepStrictEqual(written, ["hello"])
    }).pipe(Effect.scoped)
  )

  it.effect("does not wait for a user who says nothing", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(taking("near"))], [listedPeer("near", { earlyData: true })])
      const [, silent] = duplexPair()
      assert.strictEqual(yield* name(makeDialer(endpoint)(new FirstBytes(silent))), "near")
    })
  )

  it.effect("leaves who had announced that he wants no PROXY header, and wants one", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const links = [yield* link(hearing(5, () => {}, { ...CONNECTED, proxy: "v1" })), yield* link(taking("far"))]
      const peers = [listedPeer("near", { earlyData: true }), listedPeer("far")]
      const { path } = yield* makeDialer(yield* endpointWith(links, peers))(saying("hello"))
      assert.strictEqual(path.peerId, peerKey(peers[1]!))
    }).pipe(Effect.scoped)
  )

  it.effect("prefers who has a service, and still tries the others when nobody has", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const links = [yield* link(taking("near")), yield* link(taking("far"))]
      const [near, far] = [listedPeer("near", { serviceDown: true }), listedPeer("far")]
      const endpoint = yield* endpointWith(links, [near, far])
      const dial = makeDialer(endpoint)
      assert.strictEqual(yield* name(dial()), "far")
      yield* SubscriptionRef.set(endpoint.peers, [near, listedPeer("far", { serviceDown: true })])
      const nearOnly = makeDialer({ ...endpoint, paths: (yield* endpointWith([links[0]!], [near])).paths })
      assert.strictEqual(yield* name(nearOnly()), "near")
    })
  )

  it.effect("gives the stream back with the Scope, whatever became of it", () =>
    Effect.gen(function* () {
      const link = yield* makeLinks
      const endpoint = yield* endpointWith([yield* link(taking("near"))])
      const scope = yield* Scope.make()
      const { stream } = yield* makeDialer(endpoint)().pipe(Effect.provideService(Scope.Scope, scope))
      assert.isFalse(stream.destroyed)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(stream.destroyed)
    })
  )
})
