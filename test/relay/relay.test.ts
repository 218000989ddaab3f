/** A control server, relays and those who come to them, each in its own Scope, over the transport in memory. */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Redacted, Schedule, Scope, Stream, SubscriptionRef } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import type { Identity } from "../../src/certs/Identity.ts"
import { issueClient, issueServer } from "../../src/certs/issue.ts"
import { realmName } from "../../src/certs/realmName.ts"
import { Directory } from "../../src/directory/client/Directory.ts"
import { loadControlIdentity } from "../../src/directory/server/ControlIdentity.ts"
import { ControlServer } from "../../src/directory/server/ControlServer.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { Role } from "../../src/domain/Role.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import type { RelayOffer } from "../../src/protocol/ClientControl.ts"
import * as Hello from "../../src/protocol/ClientRelay.ts"
import { connectRequest, connectResponse } from "../../src/protocol/Connect.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { type MessageOptions, receive, receiveFrame, send, sendFrame } from "../../src/protocol/MessageStream.ts"
import * as Registration from "../../src/protocol/RelayControl.ts"
import { makeBoxKey } from "../../src/protocol/seal.ts"
import { makeRelayLinks } from "../../src/relay/client/RelayLinks.ts"
import { startRelayAlone } from "../../src/relay/server/Relay.ts"
import { inFolder, inProcess, type RelayMemory } from "../../src/relay/server/RelayMemory.ts"
import type { RelayLimits } from "../../src/relay/server/RelayServer.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { type Connection, type Endpoint, Transport, TransportEndpoint } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }
const WEB = "web" as EndpointName
const MESSAGES: MessageOptions = { width: 4, limit: 65_536 }

const temporary = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-relay-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** A control server; relays, clients and strangers come to it. */
const world = Effect.fnUntraced(function* (options: { readonly controlFolder?: string } = {}) {
  const transport = Memory.layer(new Memory.MemoryNetwork())
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["127.0.0.1"])
  const trust = Trust.authorities("127.0.0.1", [authority.certificatePem])
  let clients: SocketAddress = HERE
  let registrations: SocketAddress = HERE
  let scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Effect.suspend(() => Scope.close(scope, Exit.void)))

  const startControl = Effect.gen(function* () {
    scope = yield* Scope.make()
    const started = yield* ControlServer.start({
      ...(options.controlFolder !== undefined && { identity: yield* loadControlIdentity(options.controlFolder) }),
      ingresses: [{ address: clients, identity }],
      tokens: [Redacted.make("client")],
      endpointExpiry: Duration.seconds(30),
      relays: { tokens: [Redacted.make("relay")], ingresses: [{ address: registrations, identity }] }
    }).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide(transport))
    clients = started.clients[0]!
    registrations = started.relays[0]!
  })
  yield* startControl

  const bind = Effect.flatMap(Transport, ({ bind }) => bind({ address: HERE })).pipe(Effect.provide(transport))

  /** A relay in a Scope of its own. */
  const relay = Effect.fnUntraced(function* (
    settings: { readonly memory?: RelayMemory; readonly limits?: RelayLimits } = {}
  ) {
    const own = yield* Scope.fork(yield* Effect.scope)
    const started = yield* startRelayAlone({
      token: Redacted.make("relay"),
      metadata: "",
      buildVersion: "test",
      memory: settings.memory ?? inProcess(),
      limits: settings.limits ?? {},
      ingresses: [{ address: HERE, advertised: [HERE] }],
      control: registrations,
      trust,
      handshakeTimeout: Duration.seconds(1)
    }).pipe(Effect.provideService(Scope.Scope, own), Effect.provide(transport))
    const running = yield* Effect.forkIn(started.run, own)
    return { ...started, running, stop: Scope.close(own, Exit.void) }
  })

  /** What a client of ours is offered. */
  const offers = Effect.fnUntraced(function* (role: Role, shown: Identity) {
    const context = yield* Layer.build(
      Directory.layer({
        server: clients,
        trust,
        token: Redacted.make("client"),
        metadata: "",
        handshakeTimeout: Duration.seconds(1),
        buildVersion: "test"
      }).pipe(Layer.provideMerge(TransportEndpoint.layer({ address: HERE })), Layer.provide(transport))
    )
    const directory = yield* Directory.pipe(Effect.provide(context))
    return yield* directory.relays({ endpoint: WEB, role, clientCertificate: shown.leaf.raw })
  })

  /** The hello of a relay by hand; `change` makes of it what it should not be. */
  const register = Effect.fnUntraced(function* (
    change: Partial<Registration.AuthenticateRequest> = {},
    raw?: Uint8Array
  ) {
    const endpoint = yield* bind
    const connection = yield* endpoint.dial({
      address: registrations,
      protocols: Alpn.registration,
      trust,
      timeout: "1 second"
    })
    const stream = yield* connection.open
    const request = {
      token: Redacted.make("relay"),
      reconnectToken: new Uint8Array(),
      buildVersion: "",
      addresses: [{ host: "relay.example", port: 1 }],
      metadata: "",
      serverCertificate: (yield* issueServer([realmName("reserve.relay")])).leaf.raw,
      authenticationKey: makeBoxKey().publicKey,
      ...change
    }
    if (raw === undefined) yield* send(stream, Registration.authenticateRequest, request, MESSAGES)
    else yield* sendFrame(stream, raw, MESSAGES)
    const answer = yield* receive(stream, Registration.authenticateResponse, MESSAGES)
    return { connection, answer }
  })

  return {
    relay,
    offers,
    register,
    bind,
    stopControl: Effect.suspend(() => Scope.close(scope, Exit.void)),
    startControl
  }
})

const untilList = <A>(
  list: SubscriptionRef.SubscriptionRef<ReadonlyArray<A>>,
  holds: (list: ReadonlyArray<A>) => boolean
) => SubscriptionRef.changes(list).pipe(Stream.filter(holds), Stream.runHead, Effect.timeout("5 seconds"), Effect.orDie)

const one = (offers: SubscriptionRef.SubscriptionRef<ReadonlyArray<RelayOffer>>) =>
  untilList(offers, (list) => list.length === 1).pipe(Effect.map(() => SubscriptionRef.getUnsafe(offers)[0]!))

/** A link to a relay by hand: the connection, and what the hello was answered with. */
const knock = Effect.fnUntraced(function* (
  endpoint: Endpoint,
  offer: RelayOffer,
  identity: Identity,
  options: { readonly authentication?: Uint8Array; readonly legacy?: boolean } = {}
) {
  const connection = yield* endpoint.dial({
    address: offer.addresses[0]!,
    protocols: options.legacy ? [Alpn.relay[1]] : Alpn.relay,
    identity,
    trust: Trust.pinned(offer.serverCertificate),
    timeout: "1 second"
  })
  const messages: MessageOptions = { width: options.legacy ? 8 : 4, limit: 65_536 }
  const stream = yield* connection.open
  const authentication = options.authentication ?? offer.authentication
  yield* send(stream, Hello.authenticateRequest, { authentication, metadata: "", buildVersion: "" }, messages)
  const answer = yield* receive(stream, Hello.authenticateResponse, messages)
  return { connection, answer, messages }
})

/** Answers every stream that a relay opens. */
const play = (connection: Connection, messages: MessageOptions, answer: Uint8Array, seen: Array<Uint8Array> = []) =>
  Effect.gen(function* () {
    while (true) {
      const stream = yield* connection.accept
      seen.push(yield* receiveFrame(stream, messages))
      yield* sendFrame(stream, answer, messages)
      stream.pipe(stream)
    }
  }).pipe(Effect.ignore, Effect.forkScoped)

const ACCEPTED = connectResponse.encode({ _tag: "Connected", proxy: "none", encryption: "none" })
const refusing = (message: string) => connectResponse.encode({ _tag: "Refused", code: 502, message })

const ask = Effect.fnUntraced(function* (connection: Connection, messages: MessageOptions, request: Uint8Array) {
  const stream = yield* connection.open
  yield* sendFrame(stream, request, messages)
  return { stream, answer: yield* receive(stream, connectResponse, messages) }
})
const CONNECT = connectRequest.encode({ _tag: "Connect", encryptions: [] })
const connectTo = (destinationKey: string) =>
  connectRequest.encode({ _tag: "Connect", encryptions: [], destinationKey })

/** A relay with its world, a source's and a destination's certificate, and how to come in as either. */
const house = Effect.fnUntraced(function* (limits?: RelayLimits) {
  const here = yield* world()
  yield* here.relay(limits === undefined ? {} : { limits })
  const enter = Effect.fnUntraced(function* (role: Role, options?: { readonly legacy?: boolean }) {
    const identity = yield* issueClient
    const offer = yield* one(yield* here.offers(role, identity))
    const guest = yield* knock(yield* here.bind, offer, identity, options)
    return { ...guest, key: certificateKey(identity.leaf.raw) }
  })
  return { ...here, enter }
})

const live = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>) =>
  it.live(name, () => Effect.scoped(body()), 20_000)

describe("a relay", () => {
  live("is offered to clients while its connection lives, with what only it can open", () =>
    Effect.gen(function* () {
      const here = yield* world()
      const identity = yield* issueClient
      const offers = yield* here.offers("source", identity)
      const relay = yield* here.relay()
      const offer = yield* one(offers)
      assert.deepStrictEqual(offer.addresses, relay.addresses)
      const { answer } = yield* knock(yield* here.bind, offer, identity)
      assert.strictEqual(answer._tag, "Accepted")
      yield* relay.stop
      yield* untilList(offers, (list) => list.length === 0)
    })
  )

  live("that registers again before its old connection is cleaned up stays offered", () =>
    Effect.gen(function* () {
      const here = yield* world()
      const offers = yield* here.offers("source", yield* issueClient)
      const first = yield* here.register()
      if (first.answer._tag !== "Accepted") return assert.fail("refused")
      const { id } = yield* one(offers)
      const second = yield* here.register({
        reconnectToken: first.answer.reconnectToken,
        addresses: [{ host: "relay.example", port: 2 }]
      })
      yield* untilList(offers, ([offer]) => offer?.addresses[0]?.port === 2)
      yield* first.connection.close(0, "")
      // Another one comes and goes, so that the list is told anew.
      const other = yield* here.register()
      yield* untilList(offers, (list) => list.length === 2)
      yield* other.connection.close(0, "")
      yield* untilList(offers, (list) => list.length === 1)
      assert.strictEqual(SubscriptionRef.getUnsafe(offers)[0]?.id, id)
      yield* second.connection.close(0, "")
      yield* untilList(offers, (list) => list.length === 0)
    })
  )

  live("is refused with code 100 for a wrong token, a certificate without a name, or a hello that is none", () =>
    Effect.gen(function* () {
      const here = yield* world()
      const offers = yield* here.offers("source", yield* issueClient)
      yield* here.relay()
      yield* one(offers)
      const nameless = (yield* issueServer(["127.0.0.1"])).leaf.raw
      const bad = [
        [{ token: Redacted.make("wrong") }, undefined, /token is not accepted/],
        [{ serverCertificate: nameless }, undefined, /no DNS name/],
        [{ authenticationKey: new Uint8Array(32) }, undefined, /key is not one/],
        [{}, Buffer.from([255, 255, 255]), /authenticate|Malformed|not a message|cannot/i]
      ] as const
      const refused = Effect.fnUntraced(function* ([change, raw, what]: (typeof bad)[number]) {
        const { connection, answer } = yield* here.register(change, raw)
        assert.strictEqual(answer._tag === "Refused" ? answer.code : 0, ErrorCode.AuthenticationFailed)
        assert.match(answer._tag === "Refused" ? answer.message : "", what)
        const closed = yield* connection.closed
        assert.strictEqual(closed._tag === "Closed" ? closed.code : 0, ErrorCode.AuthenticationFailed)
      })
      yield* Effect.forEach(bad, refused, { concurrency: "unbounded", discard: true })
      assert.lengthOf(SubscriptionRef.getUnsafe(offers), 1)
    })
  )

  live("stays the same over a restart of either side, and refuses another control server", () =>
    Effect.gen(function* () {
      const [controlFolder, relayFolder] = [yield* temporary, yield* temporary]
      const here = yield* world({ controlFolder })
      const offers = yield* here.offers("source", yield* issueClient)
      const memory = inFolder(relayFolder)
      const relay = yield* here.relay({ memory })
      const { id } = yield* one(offers)
      yield* memory.recall.pipe(
        Effect.repeat({ until: (remembered) => remembered !== undefined, schedule: Schedule.spaced("10 millis") }),
        Effect.timeout("5 seconds")
      )
      yield* relay.stop
      yield* untilList(offers, (list) => list.length === 0)
      const again = yield* here.relay({ memory })
      assert.strictEqual((yield* one(offers)).id, id)
      yield* here.stopControl
      yield* here.startControl
      yield* SubscriptionRef.changes(offers).pipe(
        Stream.filter(([offer]) => offer?.id === id),
        Stream.runHead,
        Effect.timeout("5 seconds")
      )
      for (const path of [join(controlFolder, "control.json"), join(relayFolder, "relay.json")]) {
        assert.strictEqual(statSync(path).mode & 0o777, 0o600)
      }
      yield* again.stop
      yield* here.stopControl
      rmSync(join(controlFolder, "control.json"))
      yield* here.startControl
      const refused = yield* here.relay({ memory })
      const error = yield* Effect.flip(Fiber.join(refused.running))
      assert.match(error.message, /the control server at .* is .*, not .* as before; .* remove .*relay\.json/)
    })
  )

  live("lets in nobody but whom control vouches for, with the certificate it named", () =>
    Effect.gen(function* () {
      const here = yield* world()
      yield* here.relay()
      const [identity, other] = [yield* issueClient, yield* issueClient]
      const offer = yield* one(yield* here.offers("source", identity))
      const forged = Buffer.from(offer.authentication)
      forged[30]! ^= 1
      const bad = [
        [identity, forged],
        [identity, new Uint8Array()],
        [identity, randomBytes(100)],
        [other, offer.authentication]
      ] as const
      const refused = Effect.fnUntraced(function* ([shown, authentication]: (typeof bad)[number]) {
        const { connection, answer } = yield* knock(yield* here.bind, offer, shown, { authentication })
        assert.strictEqual(answer._tag === "Refused" ? answer.code : 0, ErrorCode.AuthenticationFailed)
        const closed = yield* connection.closed
        assert.strictEqual(closed._tag === "Closed" ? closed.code : 0, ErrorCode.AuthenticationFailed)
      })
      yield* Effect.forEach(bad, refused, { concurrency: "unbounded", discard: true })
      assert.strictEqual((yield* knock(yield* here.bind, offer, identity)).answer._tag, "Accepted")
    })
  )

  live("closes on strangers who send much before they say hello", () =>
    Effect.gen(function* () {
      const here = yield* world()
      yield* here.relay()
      const identity = yield* issueClient
      const offer = yield* one(yield* here.offers("source", identity))
      const endpoint = yield* here.bind
      const connection = yield* endpoint.dial({
        address: offer.addresses[0]!,
        protocols: Alpn.relay,
        identity,
        trust: Trust.pinned(offer.serverCertificate),
        timeout: "1 second"
      })
      for (let flood = 0; flood < 32; flood++) (yield* connection.open).write(randomBytes(32_768))
      const closed = yield* connection.closed.pipe(Effect.timeout("4 seconds"))
      assert.strictEqual(closed._tag === "Closed" ? closed.code : 0, ErrorCode.AuthenticationFailed)
    })
  )

  live("tells a source why there is no destination for it", () =>
    Effect.gen(function* () {
      const { enter } = yield* house()
      const source = yield* enter("source")
      const code = Effect.fnUntraced(function* (request: Uint8Array) {
        const { answer } = yield* ask(source.connection, source.messages, request)
        return answer._tag === "Refused" ? [answer.code, answer.message] : []
      })
      assert.strictEqual((yield* code(CONNECT))[0], ErrorCode.DestinationNotFound)
      assert.strictEqual((yield* code(connectRequest.encode({ _tag: "Check" })))[0], ErrorCode.RequestUnknown)
      const [a, b] = [yield* enter("destination"), yield* enter("destination")]
      yield* play(a.connection, a.messages, refusing("not me"))
      yield* play(b.connection, b.messages, refusing("nor me"))
      const [refused, why] = yield* code(CONNECT)
      assert.strictEqual(refused, ErrorCode.DestinationDialFailed)
      assert.match(String(why), /not me \(code 502\)/)
      assert.match(String(why), /nor me \(code 502\)/)
      assert.strictEqual((yield* code(connectTo("nobody")))[0], ErrorCode.DestinationNotFound)
    })
  )

  live("asks the destination that is meant, and no other one", () =>
    Effect.gen(function* () {
      const { enter } = yield* house()
      const source = yield* enter("source")
      const [a, b] = [yield* enter("destination"), yield* enter("destination")]
      const seen: Array<Uint8Array> = []
      yield* play(a.connection, a.messages, ACCEPTED, seen)
      yield* play(b.connection, b.messages, refusing("not me"))
      for (let round = 0; round < 5; round++) {
        const { answer } = yield* ask(source.connection, source.messages, connectTo(a.key))
        assert.strictEqual(answer._tag, "Connected")
      }
      assert.lengthOf(seen, 5)
      const { answer } = yield* ask(source.connection, source.messages, connectTo(b.key))
      assert.strictEqual(answer._tag, "Refused")
    })
  )

  live("passes requests on as bytes, whatever the lengths of both sides' frames", () =>
    Effect.gen(function* () {
      const { enter } = yield* house()
      const source = yield* enter("source")
      const destination = yield* enter("destination", { legacy: true })
      const seen: Array<Uint8Array> = []
      yield* play(destination.connection, destination.messages, ACCEPTED, seen)
      // Field 2000 of a newer program, behind the ones that are known.
      const request = Buffer.concat([CONNECT, Buffer.from([0x80, 0x7d, 0x07])])
      const { stream, answer } = yield* ask(source.connection, source.messages, request)
      assert.strictEqual(answer._tag, "Connected")
      assert.deepStrictEqual(Buffer.from(seen[0]!), request)
      // And then the bytes of the user, and his end.
      const reply = yield* Effect.promise(async () => {
        let all = ""
        stream.end("hello")
        for await (const part of stream.iterator({ destroyOnReturn: false })) all += String(part)
        return all
      })
      assert.strictEqual(reply, "hello")
    })
  )

  live("keeps its limits: links of an address, streams of a link", () =>
    Effect.gen(function* () {
      const { enter } = yield* house({ linksPerAddress: 2, streamsPerLink: 1 })
      const source = yield* enter("source")
      const destination = yield* enter("destination")
      yield* play(destination.connection, destination.messages, ACCEPTED)
      const third = yield* enter("source")
      assert.match(third.answer._tag === "Refused" ? third.answer.message : "", /at most 2 links from one address/)
      const first = yield* ask(source.connection, source.messages, CONNECT)
      assert.strictEqual(first.answer._tag, "Connected")
      const second = yield* ask(source.connection, source.messages, CONNECT)
      assert.match(second.answer._tag === "Refused" ? second.answer.message : "", /at most 1 streams of one client/)
      first.stream.destroy()
      const later = ask(source.connection, source.messages, CONNECT).pipe(
        Effect.filterOrFail(({ answer }) => answer._tag === "Connected"),
        Effect.retry(Schedule.spaced("10 millis")),
        Effect.timeout("5 seconds")
      )
      assert.strictEqual((yield* later).answer._tag, "Connected")
    })
  )
})

describe("the links to relays", () => {
  live("come up, come back when the relay was started again, outlive control, and end with their Scope", () =>
    Effect.gen(function* () {
      const here = yield* world()
      const identity = yield* issueClient
      const offers = yield* here.offers("source", identity)
      const endpoint = yield* here.bind
      const scope = yield* Scope.make()
      const { links } = yield* makeRelayLinks({
        endpoint,
        identity,
        offers,
        metadata: "",
        buildVersion: "test",
        handshakeTimeout: Duration.seconds(1),
        onLink: () => Effect.never
      }).pipe(Effect.provideService(Scope.Scope, scope))
      const first = yield* here.relay()
      yield* untilList(links, (list) => list.length === 1)
      const { id } = SubscriptionRef.getUnsafe(links)[0]!
      yield* first.stop
      yield* here.relay()
      yield* untilList(links, (list) => list.some((link) => link.id !== id && link.state === "Open"))
      const kept = SubscriptionRef.getUnsafe(links).find((link) => link.state === "Open")!
      yield* here.stopControl
      yield* here.startControl
      yield* untilList(offers, (list) => list.length === 1)
      assert.isUndefined(kept.connection.ended())
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(endpoint.counts(), { connections: 0, streams: 0 })
    })
  )
})
