/** Two ends that know each other from control, and everything between them in the hands of somebody else. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { Duplex, type Readable, type Writable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { certificateKey } from "../../../src/certs/certificateKey.ts"
import { issueClient, issueServer } from "../../../src/certs/issue.ts"
import { realmName } from "../../../src/certs/realmName.ts"
import type { Encryption } from "../../../src/domain/Encryption.ts"
import { abort } from "../../../src/internal/abort.ts"
import { makeRelayEncryption } from "../../../src/peer/encryption/RelayEncryption.ts"
import type { RemotePeer } from "../../../src/protocol/ClientControl.ts"
import type { ConnectRequest, ConnectResponse } from "../../../src/protocol/Connect.ts"

type Connect = Extract<ConnectRequest, { _tag: "Connect" }>
type Connected = Extract<ConnectResponse, { _tag: "Connected" }>
type Parts = Awaited<ReturnType<typeof identities>>

const MIB = 1_048_576
const SECRET = Buffer.from("the secret that nobody between the ends may read")

/** What the relay makes of the bytes that pass in one direction: pieces, and `null` for the end. */
type Tamper = (bytes: Buffer, at: number) => ReadonlyArray<Buffer | null>

/** One end of a stream; what is written to it comes out of the other end, through whoever sits between them. */
class Wire extends Duplex {
  readonly passed: (bytes: Buffer) => ReturnType<Tamper>
  other: Wire | undefined
  #room: (() => void) | undefined

  constructor(passed: (bytes: Buffer) => ReturnType<Tamper>) {
    super()
    this.passed = passed
    this.on("error", () => {})
  }

  override _read() {
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void) {
    const other = this.other!
    let room = true
    for (const piece of this.passed(chunk)) if (!other.readableEnded) room = other.push(piece)
    if (room) done()
    else other.#room = done
  }

  override _final(done: () => void) {
    if (!this.other!.destroyed) this.other!.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void) {
    if (!(this.readableEnded && this.writableFinished)) setImmediate(() => this.other!.destroy(new Error("reset")))
    done(error)
  }
}

const pair = (tamper: Tamper = (bytes) => [bytes]) => {
  const seen: Array<Buffer> = []
  let at = 0
  const a = new Wire((bytes) => {
    seen.push(bytes)
    at += bytes.length
    return tamper(bytes, at - bytes.length)
  })
  const b = new Wire((bytes) => {
    seen.push(bytes)
    return [bytes]
  })
  a.other = b
  b.other = a
  return { a, b, seen: () => Buffer.concat(seen) }
}

const identities = () =>
  Effect.runPromise(
    Effect.gen(function* () {
      const end = Effect.gen(function* () {
        return { server: yield* issueServer([realmName("connet.peer")]), client: yield* issueClient }
      })
      return { source: yield* end, destination: yield* end, stranger: yield* end }
    })
  )

const listed = (id: string, { server, client }: Parts["source"], endRecord = true): RemotePeer => ({
  id,
  metadata: "",
  peer: {
    directs: [],
    relayIds: [],
    serverCertificate: server.leaf.raw,
    clientCertificate: client.leaf.raw,
    ...(endRecord && { dhxcpEndRecord: true as const })
  }
})

const parts = await identities()

const DESTINATION = certificateKey(parts.destination.client.leaf.raw)

/** The two ends of an endpoint. */
const ends = (source: ReadonlyArray<Encryption>, destination: ReadonlyArray<Encryption>, endRecord = true) => ({
  source: makeRelayEncryption({
    encryptions: source,
    serverIdentity: parts.source.server,
    clientIdentity: parts.source.client,
    // One who has come back under another id is listed twice for a while.
    peers: () =>
      [parts.stranger, parts.destination, parts.destination].map((who, at) => listed(`peer ${at}`, who, endRecord))
  }),
  destination: makeRelayEncryption({
    encryptions: destination,
    serverIdentity: parts.destination.server,
    clientIdentity: parts.destination.client,
    peers: () => [listed("source", parts.source, endRecord)]
  })
})

interface Securing {
  readonly tamper?: Tamper
  /** What the relay makes of the answer. */
  readonly swap?: (answer: Connected) => Connected
  /** What the relay makes of the request. */
  readonly swapRequest?: (request: Connect) => Connect
  readonly endRecord?: boolean
}

/** `session`: a stream after one with `tls` between the same ends. */
type Variant = Encryption | "session"

/** Agrees on an encryption and secures both ends. */
const secured = Effect.fnUntraced(function* (variants: ReadonlyArray<Variant>, options: Securing = {}) {
  const schemes = variants.map((variant) => (variant === "session" ? "tls" : variant))
  const between = ends(schemes, schemes, options.endRecord)
  if (variants.includes("session")) {
    const first = yield* securedBetween(between)
    for (const end of [first.near, first.far]) if (end._tag === "Success") end.success.destroy()
  }
  return yield* securedBetween(between, options)
})

const securedBetween = Effect.fnUntraced(function* (
  { source, destination }: ReturnType<typeof ends>,
  options: Securing = {}
) {
  const offer = yield* source.offer(DESTINATION)
  const request: Connect = { _tag: "Connect", ...offer.request }
  const agreed = yield* destination.answer(options.swapRequest?.(request) ?? request)
  const answer: Connected = { _tag: "Connected", proxy: "none", ...agreed.response }
  const { a, b, seen } = pair(options.tamper)
  const [near, far] = yield* Effect.all(
    // Whoever is refused gives the stream up.
    [
      Effect.onError(offer.secure(a, options.swap?.(answer) ?? answer), () => Effect.sync(() => a.destroy())),
      agreed.secure(b)
    ].map((end) => Effect.result(end)),
    { concurrency: 2 }
  )
  return { near: near!, far: far!, seen, request, answer }
})

const both = Effect.fnUntraced(function* (...args: Parameters<typeof secured>) {
  const { near, far, seen, request, answer } = yield* secured(...args)
  if (near._tag === "Failure") return yield* near.failure
  if (far._tag === "Failure") return yield* far.failure
  return { near: near.success, far: far.success, seen, request, answer }
})

const drain = async (stream: Readable) => {
  const parts: Array<Buffer> = []
  let error: Error | undefined
  try {
    for await (const part of stream.iterator({ destroyOnReturn: false })) parts.push(part)
  } catch (failure) {
    error = failure as Error
  }
  return { bytes: Buffer.concat(parts), error }
}

/** A side that is only written to; its errors are looked at elsewhere. */
const send = (stream: Writable, bytes: Buffer) => {
  stream.on("error", () => {})
  stream.end(bytes)
}

const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")

describe("the encryption of relayed streams", () => {
  for (const scheme of ["tls", "dhxcp", "session"] as const) {
    const live = (name: string, body: () => Effect.Effect<void, Error>) => it.live(`${scheme}: ${name}`, body, 20_000)

    live("carries 8 MiB both ways at once, and nothing of it is to be seen on the way", () =>
      Effect.gen(function* () {
        const { near, far, seen } = yield* both([scheme])
        const [up, down] = [
          Buffer.concat([SECRET, randomBytes(8 * MIB)]),
          Buffer.concat([SECRET, randomBytes(8 * MIB)])
        ]
        send(near, up)
        send(far, down)
        const [a, b] = yield* Effect.promise(() => Promise.all([drain(near), drain(far)]))
        assert.deepStrictEqual([a.error, b.error], [undefined, undefined])
        assert.deepStrictEqual([hash(a.bytes), hash(b.bytes)], [hash(down), hash(up)])
        assert.isFalse(seen().includes(SECRET.subarray(0, 16)))
      })
    )

    live("one end may finish and still hear the other one", () =>
      Effect.gen(function* () {
        const { near, far } = yield* both([scheme])
        send(near, Buffer.from("a question"))
        const question = yield* Effect.promise(() => drain(far))
        send(far, Buffer.from("an answer"))
        const answer = yield* Effect.promise(() => drain(near))
        assert.deepStrictEqual([question.bytes.toString(), answer.bytes.toString()], ["a question", "an answer"])
        assert.deepStrictEqual([question.error, answer.error], [undefined, undefined])
      })
    )

    live("whoever does not read stops the writer", () =>
      Effect.gen(function* () {
        const { near, far } = yield* both([scheme])
        near.on("error", () => {})
        far.on("error", () => {})
        let written = 0
        const chunk = randomBytes(64 * 1024)
        while (near.write(chunk) && written < 64 * MIB) written += chunk.length
        // What is taken in without a reader is bounded by the buffers on the way.
        yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        assert.isBelow(written, MIB)
        near.destroy()
      })
    )

    live("cutting one end is an error at the other", () =>
      Effect.gen(function* () {
        const { near, far } = yield* both([scheme])
        near.on("error", () => {})
        near.write("half of it")
        yield* Effect.promise(() => once(far, "readable"))
        abort(near, new Error("for a reason"))
        const { error } = yield* Effect.promise(() => drain(far))
        assert.isDefined(error)
      })
    )

    const TAMPERED: Record<string, (after: number) => Tamper> = {
      "a flipped bit": (after) => (bytes, at) => {
        if (at < after || bytes.length < 40) return [bytes]
        const changed = Buffer.from(bytes)
        changed[30]! ^= 1
        return [changed]
      },
      "a cut at the border of a record": (after) => (bytes, at) => (at < after ? [bytes] : [null]),
      "a cut within a record": (after) => (bytes, at) => (at < after ? [bytes] : [bytes.subarray(0, 20), null]),
      "a repeated record": (after) => (bytes, at) => (at < after ? [bytes] : [bytes, bytes])
    }
    for (const [what, tamper] of Object.entries(TAMPERED)) {
      live(`${what} is an error, and nothing that follows is delivered`, () =>
        Effect.gen(function* () {
          let passed = 0
          // The handshake passes, and the first record of the user.
          const state = { after: Number.POSITIVE_INFINITY }
          const { near, far } = yield* both([scheme], {
            tamper: (bytes, at) => {
              passed = at + bytes.length
              return tamper(state.after)(bytes, at)
            }
          })
          near.on("error", () => {})
          yield* Effect.promise(() => new Promise<void>((resolve) => near.write("before", () => resolve())))
          const first = yield* Effect.promise(async () => {
            await once(far, "readable")
            return far.read() as Buffer
          })
          assert.strictEqual(first.toString(), "before")
          state.after = passed
          near.end(SECRET)
          const { bytes, error } = yield* Effect.promise(() => drain(far))
          assert.isDefined(error, what)
          const allowed = what === "a repeated record" ? SECRET.toString() : ""
          assert.include([allowed, ""], bytes.toString())
        })
      )
    }

    live("an answer that was swapped for another scheme is refused", () =>
      Effect.gen(function* () {
        const none = yield* secured([scheme], { swap: (answer) => ({ ...answer, encryption: "none" }) })
        assert.match(none.near._tag === "Failure" ? none.near.failure.message : "", /chose none, which was not among/)
      })
    )

    // A session is that of one peer, whatever the answer says.
    if (scheme === "session") continue
    live("an answer in the name of another peer is refused, or cannot be read", () =>
      Effect.gen(function* () {
        const clientName = parts.stranger.server.leaf.subject.slice("CN=".length)
        const swapped = yield* secured([scheme], {
          swap: (answer) => ({
            ...answer,
            ...(answer.tls && { tls: { clientName } }),
            ...(answer.dhxcp && { dhxcp: { ...answer.dhxcp, clientName } })
          })
        })
        assert.strictEqual(swapped.near._tag, "Failure")
        assert.match(
          swapped.near._tag === "Failure" ? swapped.near.failure.message : "",
          scheme === "tls" ? /handshake/ : /signature/
        )
      })
    )
  }

  it.live("a session spares the handshake of the next stream, and the relay learns nothing that opens it", () =>
    Effect.gen(function* () {
      const { near, far, seen, request, answer } = yield* both(["session", "dhxcp"])
      assert.deepStrictEqual([request.encryptions, request.dhxcp], [["tls"], undefined])
      assert.deepStrictEqual([request.session?.nonce.length, answer.sessionNonce?.length], [32, 32])
      assert.strictEqual(seen().length, 0)
      send(near, Buffer.from("at once"))
      assert.strictEqual((yield* Effect.promise(() => drain(far))).bytes.toString(), "at once")
    })
  )

  for (const [what, options] of Object.entries<Securing>({
    "a nonce of the source": {
      swapRequest: ({ session, ...rest }) => ({ ...rest, session: { ...session!, nonce: randomBytes(32) } })
    },
    "a nonce of the destination": { swap: (answer) => ({ ...answer, sessionNonce: randomBytes(32) }) }
  })) {
    it.live(`a session: ${what} that was swapped is an error at both ends, and nothing is delivered`, () =>
      Effect.gen(function* () {
        const { near, far } = yield* both(["session"], options)
        send(near, SECRET)
        send(far, SECRET)
        const ended = yield* Effect.promise(() => Promise.all([drain(near), drain(far)]))
        for (const { bytes, error } of ended) assert.deepStrictEqual([bytes.length, error?.name], [0, "StreamForged"])
      })
    )
  }

  it.live(
    "a session that the destination does not know, or that is another's, is no session: there is a handshake",
    () =>
      Effect.gen(function* () {
        for (const swapRequest of [
          ({ session: _, ...rest }: Connect): Connect => rest,
          (request: Connect): Connect => ({ ...request, session: { ...request.session!, id: randomBytes(16) } })
        ]) {
          const { near, far, answer } = yield* both(["session"], { swapRequest })
          assert.isUndefined(answer.sessionNonce)
          send(near, Buffer.from("all the same"))
          assert.strictEqual((yield* Effect.promise(() => drain(far))).bytes.toString(), "all the same")
        }
        // Another peer shows the id that he has seen pass.
        const between = ends(["tls"], ["tls"])
        yield* securedBetween(between)
        const { request } = yield* between.source.offer(DESTINATION)
        assert.isDefined(request.session)
        const known = between.destination.answer({ _tag: "Connect", ...request })
        assert.isDefined((yield* known).response.sessionNonce)
        const stranger = { clientName: parts.stranger.server.leaf.subject.slice("CN=".length) }
        const { message } = yield* Effect.flip(
          between.destination.answer({ _tag: "Connect", ...request, tls: stranger })
        )
        assert.match(message, /no peer of this endpoint/)
      })
  )

  it.live("an answer with a session that was not offered is refused", () =>
    Effect.gen(function* () {
      const { near } = yield* secured(["tls"], { swap: (answer) => ({ ...answer, sessionNonce: randomBytes(32) }) })
      assert.match(near._tag === "Failure" ? near.failure.message : "", /a session that was not offered/)
    })
  )

  it.live("dhxcp: with an upstream peer an end at the border of a frame is an end", () =>
    Effect.gen(function* () {
      const { near, far } = yield* both(["dhxcp"], { endRecord: false })
      send(near, Buffer.from("all of it"))
      const { bytes, error } = yield* Effect.promise(() => drain(far))
      assert.deepStrictEqual([bytes.toString(), error], ["all of it", undefined])
    })
  )

  it.live("none is used only when both ends allow it", () =>
    Effect.gen(function* () {
      const { near, far, seen } = yield* both(["none"])
      send(near, SECRET)
      assert.deepStrictEqual((yield* Effect.promise(() => drain(far))).bytes, SECRET)
      assert.isTrue(seen().equals(SECRET))
      const { source, destination } = ends(["none"], ["tls", "dhxcp"])
      const offer = yield* source.offer(DESTINATION)
      const error = yield* Effect.flip(destination.answer({ _tag: "Connect", ...offer.request }))
      assert.match(error.message, /the source allows none, the destination tls, dhxcp; set relay-encryptions/)
    })
  )

  it.live("the best scheme that both allow is taken, tls before dhxcp before none", () =>
    Effect.gen(function* () {
      const chosen = Effect.fnUntraced(function* (a: ReadonlyArray<Encryption>, b: ReadonlyArray<Encryption>) {
        const { source, destination } = ends(a, b)
        const { request } = yield* source.offer(DESTINATION)
        return (yield* destination.answer({ _tag: "Connect", ...request })).response.encryption
      })
      assert.strictEqual(yield* chosen(["none", "dhxcp", "tls"], ["none", "tls", "dhxcp"]), "tls")
      assert.strictEqual(yield* chosen(["none", "dhxcp"], ["tls", "dhxcp"]), "dhxcp")
      assert.strictEqual(yield* chosen(["none", "tls"], ["none", "dhxcp"]), "none")
    })
  )

  it.effect("a handshake that nobody answers ends after fifteen seconds", () =>
    Effect.gen(function* () {
      const { source } = ends(["tls"], ["tls"])
      const offer = yield* source.offer(DESTINATION)
      const { a } = pair()
      const clientName = parts.destination.server.leaf.subject.slice("CN=".length)
      const answer: Connected = { _tag: "Connected", proxy: "none", encryption: "tls", tls: { clientName } }
      const waiting = yield* Effect.forkChild(Effect.flip(offer.secure(a, answer)))
      yield* TestClock.adjust("16 seconds")
      assert.match((yield* Fiber.join(waiting)).message, /no answer in 15 s/)
    })
  )
})
