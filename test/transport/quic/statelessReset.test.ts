/** What peers learn about connections that a socket does not know any more (RFC 9000 §10.3). */

import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { issueClient, issueServer } from "../../../src/certs/issue.ts"
import type { SocketAddress } from "../../../src/domain/SocketAddress.ts"
import { STRAYS_PER_SECOND } from "../../../src/transport/quic/internal/limits.ts"
import { loadNative, type NativeConnection } from "../../../src/transport/quic/internal/native.ts"
import { resetToken, statelessReset } from "../../../src/transport/quic/internal/statelessReset.ts"
import { layer, type QuicOptions } from "../../../src/transport/quic/Quic.ts"
import { Transport } from "../../../src/transport/Transport.ts"
import { Trust } from "../../../src/transport/Trust.ts"
import { lossyLink } from "../lossyLink.ts"
import { beginner, packetsOf, rawSocket, sendRaw } from "./wire.ts"

const ALPN = ["test/1"]
const HERE: SocketAddress = { host: "127.0.0.1", port: 0 }
const KEY = Uint8Array.from({ length: 32 }, (_, at) => at)
const ANYONE = Trust.expected(() => true)

const identities = Effect.runSync(Effect.cached(Effect.all([issueServer(["one.test"]), issueClient])))

const bind = (address = HERE, options: QuicOptions = {}) =>
  Effect.flatMap(Transport, (transport) => transport.bind({ address })).pipe(
    Effect.provide(layer({ resetKey: Redacted.make(KEY), ...options }))
  )

/** A socket that listens, and what takes it away. */
const listening = Effect.fnUntraced(function* (address = HERE, options: QuicOptions = {}) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const [identity] = yield* identities
  const endpoint = yield* Effect.provideService(bind(address, options), Scope.Scope, scope)
  const listener = yield* Effect.provideService(
    endpoint.listen({ protocols: ALPN, identity, trust: ANYONE }),
    Scope.Scope,
    scope
  )
  const accept = Effect.provideService(listener.accept, Scope.Scope, scope)
  return { address: endpoint.address, accept, stop: Scope.close(scope, Exit.void) }
})

/** A packet with a short header for this connection id. */
const stray = (bytes: number, id: Uint8Array) => {
  const packet = randomBytes(bytes)
  packet[0] = 0x40
  packet.set(id, 1)
  return packet
}

const run = (behaviour: string, body: Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(behaviour, () => Effect.scoped(body), 20_000)

describe("the token of a connection id", () => {
  it("is the beginning of an HMAC with SHA-256, as upstream has it", () => {
    assert.strictEqual(
      resetToken(KEY, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)).toString("hex"),
      "5ea9633fb4bd1788197520638af1f7a6"
    )
  })
})

describe("a stateless reset", () => {
  it("is shorter than what it answers, has the fixed bit and ends with the token", () => {
    const token = randomBytes(16)
    for (const [packetBytes, bytes] of [
      [22, 21],
      [43, 42],
      [44, 43],
      [1_200, 43]
    ] as const) {
      const reset = statelessReset(packetBytes, token)!
      assert.strictEqual(reset.length, bytes)
      assert.strictEqual(reset[0]! & 0xc0, 0x40)
      assert.isTrue(reset.subarray(-16).equals(token))
    }
    assert.isUndefined(statelessReset(21, token))
    assert.isFalse(statelessReset(44, token)!.equals(statelessReset(44, token)!))
  })

  run(
    "answers packets for a connection that is not known, but not those too small to have one, and so many a second",
    Effect.gen(function* () {
      const { address, datagrams } = yield* bind()
      const socket = yield* rawSocket
      const answers: Array<Buffer> = []
      socket.on("message", (bytes) => answers.push(bytes))
      /** A raw datagram there and back: whatever was sent before has been answered, and the answers are here. */
      const settled = Effect.gen(function* () {
        yield* sendRaw(socket, Buffer.of(0, 0), address.port)
        const { from } = yield* datagrams.receive
        yield* datagrams.send(from, Buffer.of(0, 0))
        yield* Effect.promise(async () => {
          while (answers.at(-1)?.length !== 2) await once(socket, "message")
        })
        return answers.splice(0).slice(0, -1)
      })
      const id = randomBytes(8)
      yield* sendRaw(socket, stray(21, id), address.port)
      yield* sendRaw(socket, stray(40, id), address.port)
      assert.deepEqual(
        (yield* settled).map((bytes) => [bytes.length, bytes.subarray(-16).toString("hex")]),
        [[39, resetToken(KEY, id).toString("hex")]]
      )
      for (let sent = 0; sent < 4 * STRAYS_PER_SECOND; sent++) yield* sendRaw(socket, stray(40, id), address.port)
      const many = (yield* settled).length
      assert.isAtLeast(many, STRAYS_PER_SECOND - 2)
      // The second may have ended meanwhile.
      assert.isAtMost(many, 2 * STRAYS_PER_SECOND)
    })
  )
})

describe("a socket that was bound again with the same key", () => {
  run(
    "tells a peer of its old connections that they are gone, with the token which that one was given",
    Effect.gen(function* () {
      const old = yield* listening()
      const { port } = old.address
      const [, client] = yield* identities
      const peer = (yield* beginner(port, client, ALPN))()
      const socket = yield* rawSocket
      const from = { from: { host: "127.0.0.1", port }, to: { host: "127.0.0.1", port: 1 } }
      const converse = (bytes: Buffer) => {
        peer.recv(bytes, from)
        for (const packet of packetsOf(peer)) socket.send(packet, port, "127.0.0.1")
      }
      socket.on("message", converse)
      for (const packet of packetsOf(peer)) yield* sendRaw(socket, packet, port)
      yield* old.accept
      assert.isTrue(peer.isEstablished())
      // What the old one still says is not heard.
      socket.off("message", converse)
      yield* old.stop

      yield* bind(old.address)
      const later = yield* rawSocket
      const answer = once(later, "message") as Promise<[Buffer]>
      peer.sendAckEliciting()
      const [packet] = packetsOf(peer)
      yield* sendRaw(later, packet!, port)
      const [reset] = yield* Effect.promise(() => answer)
      assert.isBelow(reset.length, packet!.length)
      assert.isTrue(reset.subarray(-16).equals(resetToken(KEY, packet!.subarray(1, 9))))
      peer.recv(reset, from)
      assert.isTrue(peer.isClosed())
    })
  )

  run(
    "ends the connections of those who dialed the old one at once, and none with another key",
    Effect.gen(function* () {
      const old = yield* listening()
      const link = yield* lossyLink(old.address, {})
      const near = yield* bind()
      const [server, identity] = yield* identities
      const dial = near.dial({
        address: link.address,
        protocols: ALPN,
        identity,
        trust: Trust.pinned(server.leaf.raw),
        timeout: "5 seconds"
      })
      const [ours] = yield* Effect.all([dial, old.accept], { concurrency: 2 })
      yield* ours.probe
      link.cut()
      yield* old.stop
      const other = yield* listening(old.address, { resetKey: Redacted.make(randomBytes(32)) })
      // What the old one still said is lost by then.
      yield* Effect.timeoutOption(ours.probe, "50 millis")
      link.mend()
      assert.strictEqual((yield* Effect.timeoutOption(ours.probe, "100 millis"))._tag, "None")
      assert.isUndefined(ours.ended())
      yield* other.stop

      yield* bind(old.address)
      yield* Effect.ignore(ours.probe)
      assert.strictEqual(ours.ended()?._tag, "Lost")
      assert.deepEqual(near.counts(), { connections: 0, streams: 0, timers: 0, listeners: 0 })
    })
  )
})

describe("spare connection ids", () => {
  run(
    "come with the token that the socket's key makes of them, whoever dialed",
    Effect.gen(function* () {
      const native = yield* Effect.promise(loadNative)
      const { prototype } = native.Connection as unknown as { readonly prototype: NativeConnection }
      const given = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(prototype, "newSourceCid")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      const far = yield* listening(HERE, { idleTimeoutMillis: 800 })
      const near = yield* bind(HERE, { idleTimeoutMillis: 800 })
      const [server, identity] = yield* identities
      const trust = Trust.pinned(server.leaf.raw)
      const dial = near.dial({ address: far.address, protocols: ALPN, identity, trust, timeout: "5 seconds" })
      const [ours] = yield* Effect.all([dial, far.accept], { concurrency: 2 })
      // Three for each end.
      while (given.mock.calls.length < 6) yield* ours.probe
      for (const [id, token] of given.mock.calls) {
        assert.strictEqual(token.toString(16).padStart(32, "0"), resetToken(KEY, id).toString("hex"))
      }
    })
  )
})
