/**
 * A client's session with its control server: kept for ever, whatever happens to the network or the server.
 *
 * At most one session at a time. Each attempt resolves the server's name again and races its addresses. Announcements
 * belong to the client, not to a session: every new session gets all of them, and what was last known of the peers stays
 * known while there is no session. Only what cannot pass by itself is given up: a rejected token, a refused endpoint.
 */
import {
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Layer,
  Option,
  type Redacted,
  type Scope,
  Stream,
  SubscriptionRef
} from "effect"
import type { Carrier } from "../../domain/Carrier.ts"
import type { EndpointName } from "../../domain/EndpointName.ts"
import type { ProxyFor } from "../../domain/Proxy.ts"
import type { Role } from "../../domain/Role.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { backoff } from "../../internal/backoff.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import * as Messages from "../../protocol/ClientControl.ts"
import { MAX_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { type MessageOptions, receive, receiveWithin, send } from "../../protocol/MessageStream.ts"
import type { ProtocolError } from "../../protocol/ProtocolError.ts"
import { type Connection, TransportEndpoint, type TransportStream } from "../../transport/Transport.ts"
import type { Trust } from "../../transport/Trust.ts"
import { DirectoryError, EndpointRefused } from "../DirectoryError.ts"
import { dialByName, HEALTHY, keepSession, rejection } from "./sessions.ts"

export interface DirectoryOptions {
  readonly server: { readonly host: string; readonly port: number }
  /** Who the server must be. */
  readonly trust: Trust
  readonly token: Redacted.Redacted<string>
  /** Free text that the server and peers see. */
  readonly metadata: string
  readonly proxy?: ProxyFor | undefined
  readonly handshakeTimeout: Duration.Duration
  /** Version of this program, for the server's log. */
  readonly buildVersion: string
}

export type DirectoryStatus =
  | {
      readonly _tag: "Connecting"
      readonly attempt: number
      readonly lastFailure: string | undefined
      /** There has been a session before. */
      readonly wasOnline: boolean
    }
  | {
      readonly _tag: "Online"
      /** This client as the server sees it. */
      readonly publicAddress: SocketAddress.SocketAddress
      readonly serverAddress: SocketAddress.SocketAddress
      readonly carrier: Carrier
    }

export interface AnnounceOptions {
  readonly endpoint: EndpointName
  readonly role: Role
  readonly peer: SubscriptionRef.SubscriptionRef<Messages.Peer>
}

export interface RelaysOptions {
  readonly endpoint: EndpointName
  readonly role: Role
  /** What the client will show to the relays. */
  readonly clientCertificate: Uint8Array
}

export interface Announcement {
  /** The other side of the endpoint; undefined until the server has answered for the first time. */
  readonly peers: SubscriptionRef.SubscriptionRef<ReadonlyArray<Messages.RemotePeer> | undefined>
  /** Fails when the server refuses the endpoint; never ends otherwise. */
  readonly refused: Effect.Effect<never, DirectoryError>
}

export class Directory extends Context.Service<
  Directory,
  {
    readonly status: SubscriptionRef.SubscriptionRef<DirectoryStatus>
    /** Announces an endpoint in every session for as long as the Scope lives, and tells the server of every new `peer`. */
    readonly announce: (announcement: AnnounceOptions) => Effect.Effect<Announcement, never, Scope.Scope>
    /**
     * The relays that control offers for an endpoint, for as long as the Scope lives. What was offered last stays while
     * there is no session.
     */
    readonly relays: (
      request: RelaysOptions
    ) => Effect.Effect<SubscriptionRef.SubscriptionRef<ReadonlyArray<Messages.RelayOffer>>, never, Scope.Scope>
    /** Fails when the server will never take this client; never ends otherwise. */
    readonly failure: Effect.Effect<never, DirectoryError>
  }
>()("connet/directory/Directory") {
  static readonly layer = (options: DirectoryOptions) => Layer.effect(Directory, make(options))
}

interface Session {
  readonly connection: Connection
  readonly messages: MessageOptions
}

const HELLO_DEADLINE = Duration.seconds(5)
const ANSWER_DEADLINE = Duration.seconds(10)
const make = Effect.fnUntraced(function* (options: DirectoryOptions) {
  const endpoint = yield* TransportEndpoint
  const status = yield* SubscriptionRef.make<DirectoryStatus>({
    _tag: "Connecting",
    attempt: 1,
    lastFailure: undefined,
    wasOnline: false
  })
  const session = yield* SubscriptionRef.make<Session | undefined>(undefined)
  const failure = yield* Deferred.make<never, DirectoryError>()
  const serverName = `${options.server.host}:${options.server.port}`
  let reconnectToken: Uint8Array = new Uint8Array()

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    const messages = { width: frameWidth("control", connection.protocol), limit: MAX_MESSAGE_BYTES }
    const { token, metadata, buildVersion } = options
    const stream = yield* connection.open
    yield* send(stream, Messages.authenticateRequest, { token, reconnectToken, buildVersion, metadata }, messages)
    const answer = yield* receiveWithin(stream, Messages.authenticateResponse, messages, HELLO_DEADLINE)
    stream.end().resume()
    if (answer._tag === "Refused") return yield* Effect.fail(rejection(serverName, answer))
    reconnectToken = answer.reconnectToken
    return { publicAddress: answer.publicAddress, messages }
  })

  const online = Effect.fnUntraced(function* (
    { publicAddress, messages }: Effect.Success<ReturnType<typeof hello>>,
    connection: Connection
  ) {
    const { carrier } = connection
    const serverAddress = connection.remoteAddress()
    yield* Effect.logInfo("server.online").pipe(
      Effect.annotateLogs({
        server: serverName,
        address: SocketAddress.format(serverAddress),
        carrier,
        public: SocketAddress.format(publicAddress)
      })
    )
    const own: Session = { connection, messages }
    yield* Effect.acquireRelease(SubscriptionRef.set(session, own), () =>
      SubscriptionRef.update(session, (current) => (current === own ? undefined : current))
    )
    yield* SubscriptionRef.set(status, { _tag: "Online", publicAddress, serverAddress, carrier })
  })

  yield* keepSession({
    label: "server",
    name: serverName,
    carriers: endpoint.carriers,
    connect: (carriers) =>
      dialByName(endpoint, [options.server], {
        carriers,
        proxyFor: options.proxy,
        protocols: Alpn.control,
        trust: options.trust,
        timeout: options.handshakeTimeout
      }),
    hello,
    online,
    offline: (attempt, lastFailure) =>
      SubscriptionRef.update(status, (before): DirectoryStatus => {
        const wasOnline = before._tag === "Online" || before.wasOnline
        return { _tag: "Connecting", attempt, lastFailure, wasOnline }
      })
  }).pipe(
    Effect.tapCause((cause) => Effect.logDebug("session loop ended", cause)),
    Effect.catchCause((cause) => Deferred.failCause(failure, cause)),
    Effect.forkScoped
  )

  /** Runs `body` on a new stream in every session, and again while the session lives if it fails in passing. */
  const inEachSession = Effect.fnUntraced(function* <A>(
    body: (stream: TransportStream, messages: MessageOptions) => Effect.Effect<A, ProtocolError | DirectoryError>
  ) {
    const inSession = Effect.fnUntraced(function* ({ connection, messages }: Session) {
      const stream = yield* Effect.acquireRelease(connection.open, (stream) => Effect.sync(() => stream.destroy()), {
        interruptible: true
      })
      return yield* body(stream, messages)
    }, Effect.scoped)
    let wait = backoff()
    while (true) {
      const current = yield* SubscriptionRef.changes(session).pipe(
        Stream.filter((session) => session !== undefined),
        Stream.runHead
      )
      if (Option.isNone(current)) return yield* Effect.never
      const startedAt = yield* Clock.currentTimeMillis
      const failed = yield* Effect.flip(Effect.andThen(inSession(current.value), Effect.fail("ended" as const)))
      if (failed !== "ended" && failed._tag === "DirectoryError") return yield* failed
      yield* Effect.logDebug("request interrupted", failed)
      if ((yield* Clock.currentTimeMillis) - startedAt > Duration.toMillis(HEALTHY)) wait = backoff()
      yield* wait
    }
  })

  /** Reads what control tells on a stream, for ever; a refusal of the endpoint is final. */
  const listen = Effect.fnUntraced(function* (
    stream: TransportStream,
    messages: MessageOptions,
    { endpoint, role }: Pick<AnnounceOptions, "endpoint" | "role">,
    told: (answer: Exclude<Messages.Response, { _tag: "Refused" }>) => Effect.Effect<void>
  ) {
    let answer = yield* receiveWithin(stream, Messages.response, messages, ANSWER_DEADLINE)
    while (true) {
      if (answer._tag === "Refused") {
        const { code, message: explanation } = answer
        return yield* new DirectoryError({ reason: new EndpointRefused({ endpoint, role, code, explanation }) })
      }
      yield* told(answer)
      answer = yield* receive(stream, Messages.response, messages)
    }
  })

  const announce = Effect.fnUntraced(function* (announcement: AnnounceOptions) {
    const { endpoint, role, peer } = announcement
    const peers = yield* SubscriptionRef.make<ReadonlyArray<Messages.RemotePeer> | undefined>(undefined)
    const refused = yield* Deferred.make<never, DirectoryError>()
    yield* inEachSession((stream, messages) =>
      Effect.raceFirst(
        SubscriptionRef.changes(peer).pipe(
          Stream.buffer({ capacity: 1, strategy: "sliding" }),
          Stream.runForEach((peer) =>
            send(stream, Messages.request, { _tag: "Announce", endpoint, role, peer }, messages)
          )
        ),
        listen(stream, messages, announcement, (answer) =>
          answer._tag === "Announced" ? SubscriptionRef.set(peers, answer.peers) : Effect.void
        )
      )
    ).pipe(
      Effect.annotateLogs({ endpoint, role }),
      Effect.catchCause((cause) => Deferred.failCause(refused, cause)),
      Effect.forkScoped
    )
    return { peers, refused: Deferred.await(refused) }
  })

  /** A relay that was not told its name advertises itself as localhost: it is probably where the server is. */
  const besideServer = (offer: Messages.RelayOffer): Messages.RelayOffer => ({
    ...offer,
    addresses: offer.addresses.flatMap(({ host, port }) =>
      host === "localhost" && options.server.host !== host
        ? [
            { host: options.server.host, port },
            { host, port }
          ]
        : [{ host, port }]
    )
  })

  const relays = Effect.fnUntraced(function* (request: RelaysOptions) {
    const { endpoint, role } = request
    const offers = yield* SubscriptionRef.make<ReadonlyArray<Messages.RelayOffer>>([])
    yield* inEachSession((stream, messages) =>
      Effect.andThen(
        send(stream, Messages.request, { _tag: "Relay", ...request }, messages),
        listen(stream, messages, request, (answer) =>
          answer._tag === "Relays" ? SubscriptionRef.set(offers, answer.relays.map(besideServer)) : Effect.void
        )
      )
    ).pipe(
      Effect.annotateLogs({ endpoint, role }),
      Effect.catchCause((cause) => Effect.logWarning("relays.refused", cause)),
      Effect.forkScoped
    )
    return offers
  })

  return Directory.of({ status, announce, relays, failure: Deferred.await(failure) })
})
