/** Control server and clients, each in its own Scope, over the transport in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted, Stream, SubscriptionRef } from "effect"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import * as Messages from "../../src/protocol/ClientControl.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { encodeFrame } from "../../src/protocol/Frame.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import { eventually, hello, OPTIONS, told, WEB, world } from "./World.ts"

describe("the directory", () => {
  it.live("introduces a source and a destination of the same name, whoever comes first", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const source = yield* (yield* client()).announce("source", WEB, 1)
      yield* told(source, [])
      const destination = yield* (yield* client()).announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* told(destination, [1])
    }).pipe(Effect.scoped)
  )

  it.live("introduces the two roles of one client to each other", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const { announce } = yield* client()
      const [source, destination] = [yield* announce("source", WEB, 1), yield* announce("destination", WEB, 2)]
      yield* told(source, [2])
      yield* told(destination, [1])
    }).pipe(Effect.scoped)
  )

  it.live("keeps endpoints of other names apart", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const source = yield* (yield* client()).announce("source")
      yield* (yield* client()).announce("destination", "other" as EndpointName)
      yield* told(source, [])
    }).pipe(Effect.scoped)
  )

  it.live("tells of new candidates, and of withdrawals at once", () =>
    Effect.gen(function* () {
      const { client, peerAt } = yield* world()
      const source = yield* (yield* client()).announce("source")
      const destination = yield* (yield* client()).announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* SubscriptionRef.set(destination.peer, peerAt(3))
      yield* told(source, [3])
      yield* destination.withdraw
      yield* told(source, [])
    }).pipe(Effect.scoped)
  )

  it.live("goes on over QUIC when only TCP got through at first, and nobody else notices", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const source = yield* (yield* client()).announce("source")
      let blocked = true
      const { directory, announce } = yield* client("good", {
        delayMillis: () => 0,
        cut: (carrier) => blocked && carrier === "quic"
      })
      const destination = yield* announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* told(destination, [1])
      const carrier = Effect.map(SubscriptionRef.get(directory.status), (status) =>
        status._tag === "Online" ? status.carrier : status._tag
      )
      assert.strictEqual(yield* carrier, "tcp")
      const lists: Array<number> = []
      yield* SubscriptionRef.changes(source.peers).pipe(
        Stream.runForEach((list) => Effect.sync(() => lists.push(list?.length ?? 0))),
        Effect.forkScoped({ startImmediately: true })
      )
      blocked = false
      yield* eventually(carrier, (now) => now === "quic")
      // What is announced from now on takes the new way.
      yield* (yield* client()).announce("source", WEB, 3)
      yield* told(destination, [1, 3])
      yield* SubscriptionRef.set(destination.peer, {
        ...(yield* SubscriptionRef.get(destination.peer)),
        relayIds: ["r"]
      })
      yield* eventually(SubscriptionRef.get(source.peers), (list) => list?.[0]?.peer.relayIds.length === 1)
      assert.notInclude(lists, 0)
    }).pipe(Effect.scoped)
  )

  it.live("withdraws at once what a client leaves behind that goes in good order", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const source = yield* (yield* client()).announce("source")
      const leaver = yield* client()
      yield* leaver.announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* leaver.leave
      yield* told(source, [])
    }).pipe(Effect.scoped)
  )

  it.live("keeps what a lost client announced for the expiry time, and not longer", () =>
    Effect.gen(function* () {
      const { client, stranger, peerAt } = yield* world({ expiry: "300 millis" })
      const source = yield* (yield* client()).announce("source")
      const connection = yield* stranger
      yield* hello(connection)
      const stream = yield* connection.open
      const announce = { _tag: "Announce", endpoint: WEB, role: "destination", peer: peerAt(2) } as const
      yield* send(stream, Messages.request, announce, OPTIONS)
      yield* told(source, [2])
      const lostAt = performance.now()
      yield* connection.close(ErrorCode.DirectKeepaliveClosed, "lost")
      yield* told(source, [])
      assert.isAtLeast(performance.now() - lostAt, 290)
    }).pipe(Effect.scoped)
  )

  it.live("takes everyone back after a restart of the server, without their doing", () =>
    Effect.gen(function* () {
      const { client, restart } = yield* world()
      const [one, two] = [yield* client(), yield* client()]
      const [source, destination] = [yield* one.announce("source", WEB, 1), yield* two.announce("destination", WEB, 2)]
      yield* told(source, [2])
      yield* restart
      const fresh = yield* (yield* client()).announce("source", WEB, 3)
      yield* told(fresh, [2])
      yield* told(destination, [1, 3])
    }).pipe(Effect.scoped)
  )

  it.live("keeps what a client knew while there is no server", () =>
    Effect.gen(function* () {
      const { client, stop } = yield* world()
      const one = yield* client()
      const source = yield* one.announce("source")
      yield* (yield* client()).announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* stop
      yield* eventually(SubscriptionRef.get(one.directory.status), ({ _tag }) => _tag === "Connecting")
      yield* told(source, [2])
    }).pipe(Effect.scoped)
  )

  it.live("ends a client whose token is refused, and says so", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const { directory } = yield* client("bad")
      const error = yield* Effect.flip(directory.failure)
      assert.strictEqual(error.reason._tag, "TokenRejected")
      assert.match(error.message, /refused the token/)
      assert.notInclude(error.message, "bad")
    }).pipe(Effect.scoped)
  )

  it.live("ends an announcement that is refused, and no other", () =>
    Effect.gen(function* () {
      const { client } = yield* world()
      const { announce } = yield* client()
      const refused = yield* announce("source", "secret" as EndpointName)
      const source = yield* announce("source")
      const exit = yield* Effect.exit(refused.refused)
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) assert.match(String(Cause.squash(exit.cause)), /code 101/)
      yield* told(source, [])
    }).pipe(Effect.scoped)
  )

  it.live("answers a refused token with the code, and closes with it", () =>
    Effect.gen(function* () {
      const { stranger } = yield* world()
      const connection = yield* stranger
      const answer = yield* hello(connection, "bad")
      assert.deepInclude(answer, { _tag: "Refused", code: 100 })
      assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code: 100 })
    }).pipe(Effect.scoped)
  )

  it.live("closes a connection that says hello with garbage, or with too much", () =>
    Effect.gen(function* () {
      const { stranger, client } = yield* world()
      for (const bytes of [
        Buffer.from("0000000208ff", "hex"),
        Buffer.from("00010001", "hex"),
        Buffer.from("ffffffff", "hex")
      ]) {
        const connection = yield* stranger
        const stream = yield* connection.open
        stream.write(bytes)
        assert.strictEqual((yield* connection.closed)._tag, "Closed")
      }
      yield* told(yield* (yield* client()).announce("source"), [])
    }).pipe(Effect.scoped)
  )

  it.live(
    "closes a connection that says nothing for five seconds",
    () =>
      Effect.gen(function* () {
        const { stranger } = yield* world()
        const began = performance.now()
        const connection = yield* stranger
        yield* connection.closed
        assert.approximately(performance.now() - began, 5_000, 1_000)
      }).pipe(Effect.scoped),
    15_000
  )

  it.live("ends a stream with a bad request by the code for what is wrong, and nothing else", () =>
    Effect.gen(function* () {
      const { stranger, peerAt } = yield* world()
      const connection = yield* stranger
      yield* hello(connection)
      const ask = Effect.fnUntraced(function* (frame: Uint8Array) {
        const stream = yield* connection.open
        stream.write(frame)
        const answer = yield* receive(stream, Messages.response, OPTIONS)
        return answer._tag === "Refused" ? answer.code : answer._tag
      })
      const announce = (peer: Messages.Peer) =>
        encodeFrame(Messages.request.encode({ _tag: "Announce", endpoint: WEB, role: "source", peer }), 4)
      const bad = Uint8Array.from([1, 2, 3])
      assert.strictEqual(yield* ask(encodeFrame(new Uint8Array(), 4)), ErrorCode.RequestUnknown)
      assert.strictEqual(yield* ask(encodeFrame(Buffer.from("0a00", "hex"), 4)), ErrorCode.AnnounceValidationFailed)
      assert.strictEqual(yield* ask(encodeFrame(Buffer.from("0a02104d", "hex"), 4)), ErrorCode.AnnounceValidationFailed)
      assert.strictEqual(
        yield* ask(announce({ ...peerAt(1), serverCertificate: bad })),
        ErrorCode.AnnounceInvalidServerCertificate
      )
      assert.strictEqual(
        yield* ask(announce({ ...peerAt(1), clientCertificate: bad })),
        ErrorCode.AnnounceInvalidClientCertificate
      )
      assert.strictEqual(yield* ask(announce(peerAt(1))), "Announced")
    }).pipe(Effect.scoped)
  )

  it.live("answers a request for relays with none, for as long as the client wants", () =>
    Effect.gen(function* () {
      const { stranger, peerAt } = yield* world()
      const connection = yield* stranger
      yield* hello(connection)
      const stream = yield* connection.open
      const { clientCertificate } = peerAt(1)
      yield* send(
        stream,
        Messages.request,
        { _tag: "Relay", endpoint: WEB, role: "source", clientCertificate },
        OPTIONS
      )
      const answer = yield* receive(stream, Messages.response, OPTIONS)
      assert.deepEqual(answer, { _tag: "Relays", relays: [] })
      assert.isFalse(stream.readableEnded)
    }).pipe(Effect.scoped)
  )

  it.live("gives a client that comes back its id again", () =>
    Effect.gen(function* () {
      const { client, stranger, peerAt } = yield* world()
      const source = yield* (yield* client()).announce("source")
      const ids: Array<string> = []
      let reconnectToken: Uint8Array = new Uint8Array()
      for (const port of [2, 3]) {
        const connection = yield* stranger
        const stream = yield* connection.open
        const request = { token: Redacted.make("good"), reconnectToken, buildVersion: "", metadata: "" }
        yield* send(stream, Messages.authenticateRequest, request, OPTIONS)
        const answer = yield* receive(stream, Messages.authenticateResponse, OPTIONS)
        if (answer._tag === "Accepted") reconnectToken = answer.reconnectToken
        const announcing = yield* connection.open
        const announce = { _tag: "Announce", endpoint: WEB, role: "destination", peer: peerAt(port) } as const
        yield* send(announcing, Messages.request, announce, OPTIONS)
        yield* told(source, [port])
        ids.push((yield* SubscriptionRef.get(source.peers))![0]!.id)
        yield* connection.close(ErrorCode.DirectKeepaliveClosed, "lost")
      }
      assert.strictEqual(ids[0], ids[1])
    }).pipe(Effect.scoped)
  )

  it.live("tells a client that reads slowly only the latest list", () =>
    Effect.gen(function* () {
      const { client, stranger, peerAt } = yield* world()
      const slow = yield* stranger
      yield* hello(slow)
      const stream = yield* slow.open
      yield* send(
        stream,
        Messages.request,
        { _tag: "Announce", endpoint: WEB, role: "source", peer: peerAt(1) },
        OPTIONS
      )
      const destination = yield* (yield* client()).announce("destination", WEB, 2)
      for (let port = 3; port < 500; port++) yield* SubscriptionRef.set(destination.peer, peerAt(port))
      const witness = yield* (yield* client()).announce("source", WEB, 600)
      yield* told(witness, [499])
      let lists = 0
      for (let last = 0; last !== 499; lists++) {
        const answer = yield* receive(stream, Messages.response, OPTIONS)
        if (answer._tag === "Announced") last = answer.peers[0]?.peer.directs[0]?.port ?? 0
      }
      assert.isBelow(lists, 400)
    }).pipe(Effect.scoped)
  )

  it.live(
    "serves 500 endpoints of one client",
    () =>
      Effect.gen(function* () {
        const { client } = yield* world()
        const [one, two] = [yield* client(), yield* client()]
        const names = Array.from({ length: 500 }, (_, at) => `endpoint-${at}` as EndpointName)
        const sources = yield* Effect.forEach(names, (name) => one.announce("source", name))
        yield* Effect.forEach(names, (name, at) => two.announce("destination", name, at + 1), { discard: true })
        yield* Effect.forEach(sources, (source, at) => told(source, [at + 1]), { discard: true })
      }).pipe(Effect.scoped),
    30_000
  )
})
