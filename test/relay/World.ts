/** A control server, a relay and those who come to them, over the transport in memory; each in a Scope of its own. */
import { Duration, Effect, Exit, Fiber, Layer, Logger, Redacted, Schedule, Scope, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { makeAuthority } from "../../src/certs/Authority.ts"
import type { Identity } from "../../src/certs/Identity.ts"
import { issueClient } from "../../src/certs/issue.ts"
import { Directory } from "../../src/directory/client/Directory.ts"
import { makeAccess } from "../../src/directory/server/Access.ts"
import { type ControlIdentity, makeControlIdentity } from "../../src/directory/server/ControlIdentity.ts"
import { ControlServer } from "../../src/directory/server/ControlServer.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { Role } from "../../src/domain/Role.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import { unrestricted } from "../../src/domain/TokenRule.ts"
import { Alpn, frameWidth } from "../../src/protocol/Alpn.ts"
import type { RelayOffer } from "../../src/protocol/ClientControl.ts"
import * as Hello from "../../src/protocol/ClientRelay.ts"
import * as Connect from "../../src/protocol/Connect.ts"
import { MAX_MESSAGE_BYTES } from "../../src/protocol/Frame.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import { startRelayAlone } from "../../src/relay/server/Relay.ts"
import { inProcess, type RelayMemory } from "../../src/relay/server/RelayMemory.ts"
import type { RelayLimits } from "../../src/relay/server/RelayServer.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { type Connection, type Endpoint, Transport, TransportEndpoint } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

export const HERE = { host: "127.0.0.1", port: 0 }
export const WEB = "web" as EndpointName
export const OPTIONS = { width: 4 as const, limit: MAX_MESSAGE_BYTES }

export interface GuestOptions {
  readonly endpoint?: EndpointName
  readonly protocols?: ReadonlyArray<string>
  /** What lies on the way to the relay. */
  readonly link?: Memory.Link
}

export interface RelayStart {
  readonly memory?: RelayMemory
  readonly limits?: RelayLimits
  readonly token?: string
  /** For everybody. */
  readonly network?: Memory.MemoryOptions
}

export const makeWorldWith = Effect.fnUntraced(function* (options: Memory.MemoryOptions) {
  const network = new Memory.MemoryNetwork()
  const bound: Array<Endpoint> = []
  const { bind } = yield* Transport.pipe(
    Effect.provide(Memory.layer(network, { idleTimeoutMillis: 5_000, ...options }))
  )
  const transport = Layer.succeed(
    Transport,
    Transport.of({
      bind: (options) => Effect.tap(bind(options), (endpoint) => Effect.sync(() => bound.push(endpoint)))
    })
  )
  const { authority, identity } = yield* server
  const trust = Trust.authorities("127.0.0.1", [authority.certificatePem])
  let clients = 0
  /** Another one each time. */
  const client = Effect.suspend(() => {
    const known = knownClients[clients++]
    if (known !== undefined) return Effect.succeed(known)
    return Effect.map(issueClient, (one) => {
      knownClients.push(one)
      return one
    })
  })
  const at: { clients: SocketAddress; relays: SocketAddress; relay: SocketAddress } = {
    clients: HERE,
    relays: HERE,
    relay: HERE
  }

  /** A Scope that ends with the current one, unless it is closed before. */
  const ownScope = Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    return { scope, close: Scope.close(scope, Exit.void) }
  })

  const relayAccess = makeAccess([unrestricted(Redacted.make("relay token"))])

  /** Starts the control server, at the same addresses each time. */
  const startControl = Effect.fnUntraced(function* (controlIdentity: ControlIdentity = makeControlIdentity()) {
    const { scope, close } = yield* ownScope
    const { clients, relays, snapshot } = yield* ControlServer.start({
      identity: controlIdentity,
      ingresses: [{ address: at.clients, identity }],
      access: makeAccess([unrestricted(Redacted.make("good"))]),
      endpointExpiry: Duration.seconds(30),
      relays: { access: relayAccess, ingresses: [{ address: at.relays, identity }] }
    }).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide([transport, silent]))
    at.clients = clients[0]!
    at.relays = relays[0]!
    return { stop: close, snapshot }
  })

  /** Starts a relay, at the same address each time. `run` is its registration. */
  const startRelay = Effect.fnUntraced(function* ({ memory = inProcess(), limits = {}, token }: RelayStart = {}) {
    const { scope, close } = yield* ownScope
    const { addresses, run, snapshot } = yield* startRelayAlone({
      control: at.relays,
      trust,
      handshakeTimeout: Duration.seconds(1),
      token: Redacted.make(token ?? "relay token"),
      metadata: "test relay",
      buildVersion: "test",
      memory,
      ingresses: [{ address: at.relay, advertised: [HERE] }],
      limits
    }).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide([transport, silent]))
    at.relay = addresses[0]!
    const fiber = yield* run.pipe(Effect.provide(silent), Effect.forkIn(scope))
    return { run: Fiber.join(fiber), stop: close, snapshot }
  })

  const own = yield* bind({ address: HERE })

  /** A connection without anything of ours behind it: for saying anything at all. */
  const dial = (address: SocketAddress, protocols: ReadonlyArray<string>, identity?: Identity) =>
    own.dial({ address, protocols, trust: Trust.anyone, timeout: "1 second", ...(identity && { identity }) })

  /** One client of ours, which asks for everybody; begun when it is first needed, with the control server there. */
  const directory = yield* Effect.cached(
    Effect.suspend(() =>
      Layer.build(
        Directory.layer({
          server: at.clients,
          trust,
          token: Redacted.make("good"),
          metadata: "",
          handshakeTimeout: Duration.seconds(1),
          buildVersion: "test"
        }).pipe(
          Layer.provideMerge(TransportEndpoint.layer({ address: HERE })),
          Layer.provide(transport),
          Layer.provide(silent)
        )
      )
    ).pipe(
      Effect.flatMap((context) => Effect.provide(Directory, context)),
      Effect.provideService(Scope.Scope, yield* Effect.scope)
    )
  )

  /** What control offers to a client with this certificate. */
  const offersFor = Effect.fnUntraced(function* (certificate: Uint8Array, role: Role, endpoint = WEB) {
    const { relays } = yield* directory
    return yield* relays({ endpoint, role, clientCertificate: certificate }).pipe(Effect.provide(silent))
  })

  /** Waits until exactly one relay is offered. */
  const theOffer = (offers: SubscriptionRef.SubscriptionRef<ReadonlyArray<RelayOffer>>) =>
    eventually(SubscriptionRef.get(offers), (all) => all.length === 1).pipe(Effect.map(([offer]) => offer!))

  /** Shows an authentication to the relay, and what it answers. */
  const enter = Effect.fnUntraced(function* (connection: Connection, authentication: Uint8Array) {
    const messages = { width: frameWidth("relay", connection.protocol), limit: MAX_MESSAGE_BYTES }
    const stream = yield* connection.open
    const request = { authentication, metadata: "", buildVersion: "" }
    yield* send(stream, Hello.authenticateRequest, request, messages)
    const answer = yield* receive(stream, Hello.authenticateResponse, messages)
    stream.end().resume()
    return answer
  })

  /** A client with a link to the relay, played by the test. */
  const guest = Effect.fnUntraced(function* (role: Role, options: GuestOptions = {}) {
    const identity = yield* client
    const { authentication } = yield* theOffer(yield* offersFor(identity.leaf.raw, role, options.endpoint))
    const address = options.link === undefined ? at.relay : network.link(at.relay, options.link)
    const connection = yield* dial(address, options.protocols ?? Alpn.relay, identity)
    const answer = yield* enter(connection, authentication)
    const messages = { width: frameWidth("relay", connection.protocol), limit: MAX_MESSAGE_BYTES }
    return { connection, messages, identity, answer, authentication }
  })

  return {
    at,
    relayAccess,
    identity,
    client,
    network,
    transport,
    bind,
    own,
    trust,
    ownScope,
    startControl,
    startRelay,
    dial,
    offersFor,
    theOffer,
    enter,
    guest,
    /** Streams that are open anywhere. */
    streams: () => bound.reduce((sum, endpoint) => sum + endpoint.counts().streams, 0)
  }
})

export const makeWorld = makeWorldWith({})

export type World = Effect.Success<typeof makeWorld>
export type Guest = Effect.Success<ReturnType<World["guest"]>>

const silent = Logger.layer([])

/** Keys take their time to make, so all worlds have the same ones. */
const server = Effect.runSync(
  Effect.cached(
    Effect.gen(function* () {
      const authority = yield* makeAuthority()
      return { authority, identity: yield* authority.issueServer(["127.0.0.1"]) }
    })
  )
)
const knownClients: Array<Identity> = []

/** A world in which a control server and a relay are running. */
export const makeWorldWithRelay = Effect.fnUntraced(function* (start: RelayStart = {}) {
  const world = yield* makeWorldWith(start.network ?? {})
  const control = yield* world.startControl()
  const relay = yield* world.startRelay(start)
  return { ...world, control, relay }
})

export const CONNECT = { _tag: "Connect", encryptions: [] } as const satisfies Connect.ConnectRequest

/** Asks for a connection. */
export const ask = Effect.fnUntraced(function* (guest: Guest, request: Connect.ConnectRequest = CONNECT) {
  const stream = yield* guest.connection.open
  yield* send(stream, Connect.connectRequest, request, guest.messages)
  const answer = yield* receive(stream, Connect.connectResponse, guest.messages)
  return { stream, answer }
})

/** Only what is answered. */
export const answerTo = (guest: Guest, request?: Connect.ConnectRequest) =>
  Effect.map(ask(guest, request), ({ answer, stream }) => {
    stream.destroy()
    return answer
  })

/** So much time of the TestClock passes, and everybody has his turn in it. */
export const passing = Effect.fnUntraced(function* (millis: number) {
  for (let passed = 0; passed < millis; passed += 100) {
    yield* TestClock.adjust(100)
    yield* Effect.promise(() => new Promise(setImmediate))
  }
})

/** Looks until it holds, and fails with what it was at last. */
export const eventually = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean) =>
  look.pipe(
    Effect.filterOrFail(
      holds,
      (value) => `it is ${JSON.stringify(value, (_, part) => (part?.type === "Buffer" ? "…" : part))}`
    ),
    Effect.retry({ schedule: Schedule.spaced("2 millis"), times: 2_000 })
  )
