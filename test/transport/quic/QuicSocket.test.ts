/** What only the QUIC transport has: UDP packets from anybody. */
import { randomBytes } from "node:crypto"
import { networkInterfaces } from "node:os"
import { assert, describe, it, vi } from "@effect/vitest"
import { Effect } from "effect"
import { issueClient, issueServer } from "../../../src/certs/issue.ts"
import { realmName } from "../../../src/certs/realmName.ts"
import { FAILURES_MILLIS, MAX_HALF_OPEN, RETRY_ABOVE_HALF_OPEN } from "../../../src/transport/quic/internal/limits.ts"
import { layer } from "../../../src/transport/quic/Quic.ts"
import { type BindOptions, Transport } from "../../../src/transport/Transport.ts"
import { Trust } from "../../../src/transport/Trust.ts"
import { lossyLink } from "../lossyLink.ts"
import { beginner, packetsOf, rawSocket, sendRaw } from "./wire.ts"

const ALPN = ["test/1"]

const listening = Effect.fnUntraced(function* (host: string, admits?: BindOptions["admits"]) {
  const transport = yield* Transport
  const identity = yield* issueServer([realmName("connet.peer")])
  const client = yield* issueClient
  const endpoint = yield* transport.bind({ address: { host, port: 0 }, admits })
  const trust = Trust.expected((der) => client.leaf.raw.equals(Buffer.from(der)))
  const listener = yield* endpoint.listen({ protocols: ALPN, identity, trust })
  const dialer = yield* transport.bind({ address: { host, port: 0 } })
  const dial = (to: string, port = endpoint.address.port) =>
    dialer.dial({
      address: { host: to, port },
      protocols: ALPN,
      identity: client,
      trust: Trust.pinned(identity.leaf.raw),
      timeout: "5 seconds"
    })
  return { endpoint, listener, dial, client }
})

/** Looks like the first packet of a connection, with ids of 8 bytes and no token, but does not decrypt. */
const failingBeginning = () => {
  const packet = randomBytes(1_200)
  packet[0] = 0xc0
  packet.writeUInt32BE(1, 1)
  packet[5] = packet[14] = 8
  packet[23] = 0
  return packet
}

const run = (name: string, body: Effect.Effect<void, unknown, Transport | import("effect").Scope.Scope>) =>
  it.live(name, () => Effect.scoped(body).pipe(Effect.provide(layer())), 20_000)

const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === "::1"))

describe("the QUIC socket", () => {
  run(
    "bound to every address is reached over IPv4, and its peers have unmapped addresses",
    Effect.gen(function* () {
      const { listener, dial } = yield* listening("::")
      const [ours, theirs] = yield* Effect.all([dial("127.0.0.1"), listener.accept], { concurrency: 2 })
      assert.strictEqual(ours.remoteAddress().host, "127.0.0.1")
      assert.strictEqual(theirs.remoteAddress().host, "127.0.0.1")
    })
  )

  if (hasIPv6) {
    run(
      "bound to every address is reached over IPv6",
      Effect.gen(function* () {
        const { listener, dial } = yield* listening("::")
        const [, theirs] = yield* Effect.all([dial("::1"), listener.accept], { concurrency: 2 })
        assert.strictEqual(theirs.remoteAddress().host, "::1")
      })
    )
  }

  run(
    "drops 20,000 packets of noise and keeps serving",
    Effect.gen(function* () {
      const { endpoint, listener, dial } = yield* listening("127.0.0.1")
      const socket = yield* rawSocket
      for (let sent = 0; sent < 20_000; sent++) {
        const packet = randomBytes(1 + ((sent * 13) % 1_400))
        if (sent % 3 > 0 && packet.length > 6) {
          packet[0] = 0xc0
          packet.writeUInt32BE(1, 1)
          packet[5] = sent % 21
        }
        yield* sendRaw(socket, packet, endpoint.address.port)
      }
      yield* Effect.all([dial("127.0.0.1"), listener.accept], { concurrency: 2 })
      assert.strictEqual(endpoint.counts().connections, 1)
    })
  )

  run(
    "refuses who is not admitted with one small packet for each of his, and keeps nothing of him",
    Effect.gen(function* () {
      const { endpoint, client } = yield* listening("127.0.0.1", () => false)
      const { port } = endpoint.address
      const socket = yield* rawSocket
      const answers: Array<Buffer> = []
      const answered = new Promise<void>((resolve) => {
        socket.on("message", (bytes) => {
          if (answers.push(bytes) === 3) resolve()
        })
      })
      const newcomer = (yield* beginner(port, client, ALPN))()
      const [first] = packetsOf(newcomer)
      // A first packet without room for what answers it; the others are good ones.
      const cut = Buffer.from(failingBeginning())
      cut[5] = 20
      cut[26] = 255
      for (const packet of [cut, first!, failingBeginning(), first!]) yield* sendRaw(socket, packet, port)
      yield* Effect.promise(() => answered)
      assert.deepEqual(endpoint.counts(), { connections: 0, streams: 0, timers: 0, listeners: 1 })
      assert.isBelow(Math.max(...answers.map((bytes) => bytes.length)), 60)
      newcomer.recv(answers[0]!, { from: { host: "127.0.0.1", port }, to: { host: "127.0.0.1", port: 1 } })
      assert.deepEqual(newcomer.peerError(), { isApp: false, errorCode: 2, reason: new Uint8Array(0) as never })
    })
  )

  run(
    "makes newcomers prove their address while many handshakes are unfinished",
    Effect.gen(function* () {
      const { endpoint, listener, dial, client } = yield* listening("127.0.0.1")
      const socket = yield* rawSocket
      const begin = yield* beginner(endpoint.address.port, client, ALPN)
      for (let flood = 0; flood < 3 * RETRY_ABOVE_HALF_OPEN; flood++)
        for (const packet of packetsOf(begin())) yield* sendRaw(socket, packet, endpoint.address.port)
      yield* Effect.all([dial("127.0.0.1"), listener.accept], { concurrency: 2 })
      const { connections } = endpoint.counts()
      assert.isAtLeast(connections, RETRY_ABOVE_HALF_OPEN)
      assert.isAtMost(connections, RETRY_ABOVE_HALF_OPEN + 2)
      assert.isBelow(connections, MAX_HALF_OPEN)
    })
  )

  run(
    "asks much noise that looks like beginnings for a proof of its address, which costs no memory",
    Effect.gen(function* () {
      const { endpoint, listener, dial } = yield* listening("127.0.0.1")
      const socket = yield* rawSocket
      let answers = 0
      socket.on("message", () => answers++)
      const noise = failingBeginning()
      for (let sent = 0; sent < RETRY_ABOVE_HALF_OPEN; sent++) yield* sendRaw(socket, noise, endpoint.address.port)
      yield* Effect.all([dial("127.0.0.1"), listener.accept], { concurrency: 2 })
      assert.strictEqual(answers, 0)
      for (let sent = 0; sent < 4 * RETRY_ABOVE_HALF_OPEN; sent++) yield* sendRaw(socket, noise, endpoint.address.port)
      yield* Effect.all([dial("127.0.0.1"), listener.accept], { concurrency: 2 })
      assert.isAtLeast(answers, 1)
    })
  )

  run(
    "knows a proof of address also when none is asked for any more",
    Effect.gen(function* () {
      const { endpoint, listener, client } = yield* listening("127.0.0.1")
      const { port } = endpoint.address
      const socket = yield* rawSocket
      for (let sent = 0; sent < RETRY_ABOVE_HALF_OPEN; sent++) yield* sendRaw(socket, failingBeginning(), port)
      const newcomer = (yield* beginner(port, client, ALPN))()
      const now = Date.now()
      const clock = yield* Effect.acquireRelease(
        Effect.sync(() => vi.spyOn(Date, "now")),
        (spy) => Effect.sync(() => spy.mockRestore())
      )
      socket.on("message", (bytes) => {
        newcomer.recv(bytes, { from: { host: "127.0.0.1", port }, to: { host: "127.0.0.1", port: 1 } })
        // By the time of the first answer, the failed beginnings are forgotten.
        clock.mockImplementation(() => now + 2 * FAILURES_MILLIS)
        for (const packet of packetsOf(newcomer)) socket.send(packet, port, "127.0.0.1")
      })
      for (const packet of packetsOf(newcomer)) yield* sendRaw(socket, packet, port)
      yield* listener.accept
      assert.isNull(newcomer.localError())
    })
  )

  run(
    "says goodbye with a few packets, also when probes of the handshake are due at that moment",
    Effect.gen(function* () {
      const { endpoint, dial } = yield* listening("127.0.0.1")
      const link = yield* lossyLink(endpoint.address, { delayMillis: 5 })
      const connection = yield* dial("127.0.0.1", link.address.port)
      link.cut()
      yield* Effect.callback<void>((resume) => {
        setImmediate(() => {
          // The process stands still: then the probe and this come in the same round of timers, before anything is sent.
          setTimeout(() => resume(connection.close(0, "")), 400)
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500)
        })
      })
      assert.strictEqual(connection.ended()?._tag, "Closed")
    })
  )
})
