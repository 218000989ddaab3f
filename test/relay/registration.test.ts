/** Relays at a control server: who is taken in, who is offered, and who they are when they come back. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, SubscriptionRef } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import { issueServer } from "../../src/certs/issue.ts"
import { loadControlIdentity } from "../../src/directory/server/ControlIdentity.ts"
import { unrestricted } from "../../src/domain/TokenRule.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { encodeFrame } from "../../src/protocol/Frame.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import * as Messages from "../../src/protocol/RelayControl.ts"
import { makeBoxKey } from "../../src/protocol/seal.ts"
import { inFolder } from "../../src/relay/server/RelayMemory.ts"
import type { Connection } from "../../src/transport/Transport.ts"
import { eventually, makeWorld, OPTIONS, passing, type World } from "./World.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

/** A relay is offered a moment before it has written down who it is. */
const remembered = (folder: string) =>
  eventually(
    Effect.sync(() => readdirSync(folder)),
    (names) => names.includes("relay.json")
  )

const relayIdentity = Effect.runSync(Effect.cached(issueServer(["relay.test"])))

/** A hello that is taken, but for what `changes` says. */
const request = Effect.fnUntraced(function* (changes: Partial<Messages.AuthenticateRequest> = {}) {
  const key = makeBoxKey()
  const message: Messages.AuthenticateRequest = {
    token: Redacted.make("relay token"),
    reconnectToken: new Uint8Array(),
    buildVersion: "",
    addresses: [{ host: "192.0.2.1", port: 5 }],
    metadata: "by hand",
    serverCertificate: (yield* relayIdentity).leaf.raw,
    authenticationKey: key.publicKey,
    carriers: ["quic"],
    ...changes
  }
  return { key, message }
})

/** Registers by hand on a connection of its own. */
const register = Effect.fnUntraced(function* (world: World, changes: Partial<Messages.AuthenticateRequest> = {}) {
  const { key, message } = yield* request(changes)
  const connection = yield* world.dial(world.at.relays, Alpn.registration)
  const stream = yield* connection.open
  yield* send(stream, Messages.authenticateRequest, message, OPTIONS)
  const answer = yield* receive(stream, Messages.authenticateResponse, OPTIONS)
  return { connection, key, answer }
})

const accepted = Effect.fnUntraced(function* (registering: ReturnType<typeof register>) {
  const { connection, key, answer } = yield* registering
  if (answer._tag === "Refused") return yield* Effect.fail(answer.message)
  return { connection, answer, sharedKey: key.sharedWith(answer.authenticationKey)! }
})

const watch = Effect.fnUntraced(function* (world: World) {
  const certificate = (yield* world.client).leaf.raw
  const offers = yield* world.offersFor(certificate, "source")
  return {
    certificate,
    offers,
    /** Waits until exactly so many relays are offered. */
    count: (count: number) => eventually(SubscriptionRef.get(offers), (all) => all.length === count)
  }
})

/** Refused with code 100, by the answer and by the end of the connection. */
const refused = Effect.fnUntraced(function* (
  registering: ReturnType<typeof register>,
  message: RegExp,
  code: ErrorCode = ErrorCode.AuthenticationFailed
) {
  const { connection, answer } = yield* registering
  assert.deepInclude(answer, { _tag: "Refused", code })
  assert.match((answer as { message: string }).message, message)
  assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code })
})

describe("a relay", () => {
  it.live("is offered to clients with what opens its door, and withdrawn when its connection ends", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { certificate, offers, count } = yield* watch(world)
      const { connection, sharedKey } = yield* accepted(register(world))
      const offer = yield* world.theOffer(offers)
      assert.deepInclude(offer, { addresses: [{ host: "192.0.2.1", port: 5 }], metadata: "by hand" })
      assert.deepEqual(Messages.openAuthentication(sharedKey, offer.authentication), {
        endpoint: "web",
        role: "source",
        certificateKey: certificateKey(certificate)
      } as Messages.ClientAuthentication)
      yield* connection.close(0, "")
      yield* count(0)
    }).pipe(Effect.scoped)
  )

  it.live("whose token is taken away is told, and not offered any more; with a token of the new rules it is", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { count } = yield* watch(world)
      const { connection } = yield* accepted(register(world))
      yield* count(1)
      yield* world.relayAccess.replace([unrestricted(Redacted.make("another"))])
      assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code: 100 })
      yield* count(0)
      yield* refused(register(world), /token is not accepted/)
      yield* accepted(register(world, { token: Redacted.make("another") }))
      yield* count(1)
    }).pipe(Effect.scoped)
  )

  it.live("that comes back before its old connection is cleaned up stays offered, with its new key", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers, count } = yield* watch(world)
      const first = yield* accepted(register(world))
      const before = yield* world.theOffer(offers)
      const { reconnectToken } = first.answer
      const second = yield* accepted(register(world, { reconnectToken }))
      const opens = (offer: typeof before) => Messages.openAuthentication(second.sharedKey, offer.authentication)
      const after = yield* eventually(SubscriptionRef.get(offers), ([offer]) => opens(offer!) !== undefined)
      assert.deepEqual([after.length, after[0]!.id], [1, before.id])
      yield* first.connection.close(0, "")
      // Another one comes and goes, so that whatever the end of the first one did has been told.
      const witness = yield* accepted(register(world))
      yield* count(2)
      yield* witness.connection.close(0, "")
      const [still] = yield* count(1)
      assert.deepEqual(still, after[0])
      yield* second.connection.close(0, "")
      yield* count(0)
    }).pipe(Effect.scoped)
  )

  it.live("whose new connection ends first is offered with the key of the old one again", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers } = yield* watch(world)
      const first = yield* accepted(register(world))
      const { reconnectToken } = first.answer
      const second = yield* accepted(register(world, { reconnectToken }))
      yield* second.connection.close(0, "")
      const opens = eventually(
        SubscriptionRef.get(offers),
        ([offer]) =>
          offer !== undefined && Messages.openAuthentication(first.sharedKey, offer.authentication) !== undefined
      )
      assert.strictEqual((yield* opens).length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("is one of many that are all offered, however they come and go at once", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { count } = yield* watch(world)
      const all = yield* Effect.forEach(Array.from({ length: 30 }), () => accepted(register(world)), {
        concurrency: "unbounded"
      })
      yield* count(30)
      const leaving = all.slice(0, 20)
      yield* Effect.forEach(leaving, ({ connection }) => connection.close(0, ""), { concurrency: "unbounded" })
      yield* count(10)
    }).pipe(Effect.scoped)
  )

  it.live("keeps its id over a restart of its own and of the control server", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const [controlFolder, relayFolder] = [yield* folder, yield* folder]
      const identity = loadControlIdentity(controlFolder)
      const control = yield* world.startControl(yield* identity)
      const { offers, count } = yield* watch(world)
      const relay = yield* world.startRelay({ memory: inFolder(relayFolder) })
      const { id } = yield* world.theOffer(offers)
      yield* remembered(relayFolder)
      yield* relay.stop
      yield* count(0)
      yield* world.startRelay({ memory: inFolder(relayFolder) })
      const again = yield* world.theOffer(offers)
      assert.strictEqual(again.id, id)
      yield* control.stop
      yield* world.startControl(yield* identity)
      const anew = yield* eventually(
        SubscriptionRef.get(offers),
        ([offer]) => offer !== undefined && !Buffer.from(offer.authentication).equals(again.authentication)
      )
      assert.deepEqual([anew.length, anew[0]!.id], [1, id])
    }).pipe(Effect.scoped)
  )

  it.live("with a memory does not register at another control server, and says what to do", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const relayFolder = yield* folder
      const control = yield* world.startControl()
      const { offers } = yield* watch(world)
      const relay = yield* world.startRelay({ memory: inFolder(relayFolder) })
      yield* world.theOffer(offers)
      yield* remembered(relayFolder)
      yield* control.stop
      yield* world.startControl()
      const error = yield* Effect.flip(relay.run)
      assert.strictEqual(error.reason._tag, "ControlChanged")
      assert.include(error.message, join(relayFolder, "relay.json"))
      const another = yield* watch(world)
      yield* another.count(0)
    }).pipe(Effect.scoped)
  )

  it.live("without a memory registers at whatever control server is there, as another relay", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const control = yield* world.startControl()
      const { offers } = yield* watch(world)
      yield* world.startRelay()
      const { id } = yield* world.theOffer(offers)
      yield* control.stop
      yield* world.startControl()
      const anew = yield* eventually(SubscriptionRef.get(offers), ([offer]) => offer !== undefined && offer.id !== id)
      assert.strictEqual(anew.length, 1)
    }).pipe(Effect.scoped)
  )

  it.live("ends when its token is refused, and does not say it", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { run } = yield* world.startRelay({ token: "some secret" })
      const error = yield* Effect.flip(run)
      assert.strictEqual(error.reason._tag, "TokenRejected")
      assert.notInclude(error.message, "some secret")
    }).pipe(Effect.scoped)
  )

  it.live("ends when what it remembers cannot be read, and names the file", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { run } = yield* world.startRelay({ memory: inFolder("/dev/null/nowhere") })
      const error = yield* Effect.flip(run)
      assert.strictEqual(error.reason._tag, "StateUnusable")
      assert.include(error.message, "/dev/null/nowhere/relay.json")
    }).pipe(Effect.scoped)
  )

  it.live("tries again when there is a crowd of strangers at its address, and never gives up for that", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers } = yield* watch(world)
      const crowd: Array<Connection> = []
      for (let at = 0; at < 64; at++) {
        const connection = yield* world.dial(world.at.relays, Alpn.registration)
        ;(yield* connection.open).write("")
        crowd.push(connection)
      }
      const one = yield* world.dial(world.at.relays, Alpn.registration)
      // With code 100 it would be told that it will never be taken.
      assert.deepInclude(yield* one.closed, { _tag: "Closed", by: "peer", code: ErrorCode.Unknown })
      const { run } = yield* world.startRelay()
      const given = yield* Effect.timeoutOption(Effect.flip(run), "100 millis")
      assert.strictEqual(given._tag, "None")
      yield* Effect.forEach(crowd, (connection) => connection.close(0, ""))
      yield* world.theOffer(offers)
    }).pipe(Effect.scoped)
  )
})

describe("the control server", () => {
  it.live("refuses a relay for what is wrong with it, and nobody else notices", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers } = yield* watch(world)
      yield* world.startRelay()
      const before = yield* world.theOffer(offers)

      const authority = yield* makeAuthority()
      const nameless = (yield* authority.issueServer(["192.0.2.1"])).leaf.raw
      const hellos = [
        refused(register(world, { token: Redacted.make("bad") }), /token is not accepted/),
        refused(register(world, { token: Redacted.make("") }), /token is not accepted/),
        refused(register(world, { serverCertificate: nameless }), /no DNS name/, ErrorCode.RelayInvalidCertificate),
        refused(register(world, { serverCertificate: Uint8Array.from([1, 2]) }), /serverCertificate/),
        refused(register(world, { authenticationKey: new Uint8Array(31) }), /32 bytes, not 31/),
        refused(register(world, { authenticationKey: new Uint8Array(32) }), /authentication key is not one/)
      ]
      const garbage = Effect.fnUntraced(function* (bytes: string, protocol: string) {
        const connection = yield* world.dial(world.at.relays, [protocol])
        ;(yield* connection.open).write(Buffer.from(bytes, "hex"))
        assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code: 100 }, bytes)
      })
      const [now, old] = Alpn.registration
      const malformed = ["0000000208ff", "00010001", "ffffffff", "00000000"].map((bytes) => garbage(bytes, now))
      // A length of eight bytes with its highest bit set.
      const huge = garbage("ffffffffffffffff", old)
      yield* Effect.all([...hellos, ...malformed, huge], { concurrency: "unbounded" })
      assert.deepEqual(yield* world.theOffer(offers), before)
    }).pipe(Effect.scoped)
  )

  it.live("takes a relay that comes with a forged proof of its id as a new one", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers, count } = yield* watch(world)
      yield* accepted(register(world))
      const [first] = yield* count(1)
      yield* accepted(register(world, { reconnectToken: new Uint8Array(92) }))
      const both = yield* count(2)
      assert.strictEqual(new Set([first!.id, ...both.map(({ id }) => id)]).size, 2)
      assert.strictEqual((yield* SubscriptionRef.get(offers))[0]!.id, first!.id)
    }).pipe(Effect.scoped)
  )

  it.live("serves a relay of the older protocol", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      const { offers } = yield* watch(world)
      const connection = yield* world.dial(world.at.relays, [Alpn.registration[1]])
      const stream = yield* connection.open
      const { message } = yield* request()
      stream.write(encodeFrame(Messages.authenticateRequest.encode(message), 8))
      const answer = yield* receive(stream, Messages.authenticateResponse, { ...OPTIONS, width: 8 })
      assert.strictEqual(answer._tag, "Accepted")
      yield* world.theOffer(offers)
    }).pipe(Effect.scoped)
  )

  it.effect("closes a connection whose hello does not come, or not to its end, within its time", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      yield* world.startControl()
      for (const bytes of [undefined, "0000"]) {
        const connection = yield* world.dial(world.at.relays, Alpn.registration)
        if (bytes !== undefined) (yield* connection.open).write(Buffer.from(bytes, "hex"))
        yield* passing(4_500)
        assert.isUndefined(connection.ended())
        yield* passing(2_000)
        assert.deepInclude(connection.ended(), { _tag: "Closed", by: "peer" })
      }
      assert.strictEqual(world.own.counts().connections, 0)
    }).pipe(Effect.scoped)
  )
})
