/**
 * The control server's side of the control link: who comes in, what they announce, and what they are told.
 *
 * A connection begins with a hello (token, reconnect token); after it every stream is one request. A bad message ends its
 * stream, a bad hello its connection, and nothing more. A token that is not good any more ends whatever it was good for.
 * What a lost client announced stays listed for the expiry time; what a client withdraws, or leaves behind by closing its
 * connection in good order, goes at once.
 */
import { randomBytes } from "node:crypto"
import { Clock, Duration, Effect, FiberSet, RcMap, type Scope, Stream, SubscriptionRef } from "effect"
import { certificateKey } from "../../certs/certificateKey.ts"
import * as base32hex from "../../domain/base32hex.ts"
import type { EndpointName } from "../../domain/EndpointName.ts"
import type { Role } from "../../domain/Role.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import * as Messages from "../../protocol/ClientControl.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { MAX_MESSAGE_BYTES, MAX_STRANGER_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { type MessageOptions, receive, receiveWithin, send } from "../../protocol/MessageStream.ts"
import type { ProtocolError } from "../../protocol/ProtocolError.ts"
import { sealAuthentication } from "../../protocol/RelayControl.ts"
import { crowdedOut, makeReception, turnAway } from "../../transport/Reception.ts"
import { type Connection, type Listener, serve, type TransportStream } from "../../transport/Transport.ts"
import type { TransportError } from "../../transport/TransportError.ts"
import { type Access, type Guest, type Refusal, tokenOf, type Use } from "./Access.ts"
import type { ControlIdentity } from "./ControlIdentity.ts"
import { makeEndpointActor } from "./EndpointActor.ts"
import { openReconnectToken, sealReconnectToken } from "./ReconnectToken.ts"
import type { Registry } from "./Registry.ts"
import type { RegisteredRelay } from "./RelayRoster.ts"

export interface DirectoryServerOptions {
  readonly identity: ControlIdentity
  /** The relays to offer. */
  readonly relays: SubscriptionRef.SubscriptionRef<ReadonlyArray<RegisteredRelay>>
  /** Which clients may come, and for what. */
  readonly access: Access
  /** How long the registrations of a lost client stay listed; zero withdraws them at once. */
  readonly endpointExpiry: Duration.Duration
}

/** ALPNs that the listener for `serve` has to offer. */
export const PROTOCOLS = Alpn.control

const HELLO_DEADLINE = Duration.seconds(5)

interface Client {
  readonly id: string
  /** Unique among all connections that the server has ever had. */
  readonly connectionId: string
  readonly guest: Guest
  readonly metadata: string
  readonly connection: Connection
  readonly messages: MessageOptions
}

export interface DirectoryServer {
  /** Serves the clients that come in through a listener, for ever; fails only when the listener does. */
  readonly serve: (listener: Listener) => Effect.Effect<never, TransportError, Scope.Scope>
  readonly snapshot: Effect.Effect<DirectorySnapshot>
}

/** Who is there at the moment, and what is announced. */
export interface DirectorySnapshot {
  readonly clients: ReadonlyArray<ClientSnapshot>
  readonly endpoints: ReadonlyMap<EndpointName, Registry>
}

/** A connection of a client. */
export interface ClientSnapshot extends Pick<Client, "id" | "connectionId" | "metadata"> {
  readonly address: SocketAddress.SocketAddress
}

export const makeDirectoryServer = Effect.fnUntraced(function* (options: DirectoryServerOptions) {
  const scope = yield* Effect.scope
  const reconnectKey = options.identity.clientKey
  const reception = makeReception()
  const actors = yield* RcMap.make({ lookup: (_: EndpointName) => makeEndpointActor })
  const clients = new Set<Client>()
  let nextKey = 0
  let nextConnection = 0

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    const publicAddress = connection.remoteAddress()
    if (!(yield* reception.admit(connection)))
      return yield* Effect.as(crowdedOut(connection, "client.refused"), undefined)
    const messages = { width: frameWidth("control", connection.protocol), limit: MAX_STRANGER_MESSAGE_BYTES }
    const stream = yield* connection.accept.pipe(Effect.timeout(HELLO_DEADLINE))
    const request = yield* receiveWithin(stream, Messages.authenticateRequest, messages, HELLO_DEADLINE)
    const answer = (response: Messages.AuthenticateResponse) =>
      send(stream, Messages.authenticateResponse, response, messages).pipe(
        Effect.andThen(Effect.sync(() => stream.end().resume()))
      )
    const guest = options.access.guest(request.token, () => connection.remoteAddress().host)
    const refused = yield* guest.refusal()
    if (refused !== undefined) {
      return yield* refuse("client.refused", connection, guest, refused, answer({ _tag: "Refused", ...refused }))
    }
    const known = openReconnectToken(reconnectKey, request.reconnectToken)
    const id = known ?? base32hex.encode(randomBytes(32))
    yield* answer({ _tag: "Accepted", publicAddress, reconnectToken: sealReconnectToken(reconnectKey, id) })
    yield* Effect.logInfo("client.online").pipe(
      Effect.annotateLogs({
        client: id,
        address: SocketAddress.format(publicAddress),
        returned: known !== undefined,
        ...tokenOf(guest),
        version: request.buildVersion,
        ...(request.metadata !== "" && { metadata: request.metadata })
      })
    )
    return {
      id,
      connectionId: String(nextConnection++),
      guest,
      metadata: request.metadata,
      connection,
      messages: { ...messages, limit: MAX_MESSAGE_BYTES }
    }
  }, Effect.scoped)

  /** Answers an announcement until either side ends it. */
  const announce = Effect.fnUntraced(function* (
    client: Client,
    stream: TransportStream,
    first: Extract<Messages.Request, { _tag: "Announce" }>
  ) {
    const { endpoint, role } = first
    const actor = yield* RcMap.get(actors, endpoint)
    const key = nextKey++
    const { id: clientId, connectionId, metadata } = client
    const registration = { key, role, clientId, connectionId, metadata, peer: first.peer }
    yield* actor.tell({ _tag: "Announced", registration })
    yield* Effect.logInfo("endpoint.announced").pipe(Effect.annotateLogs({ endpoint, role, client: client.id }))

    const push = SubscriptionRef.changes(actor.peersFor(role)).pipe(
      // A client that reads slowly is told the latest list only.
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach((peers) => send(stream, Messages.response, { _tag: "Announced", peers }, client.messages))
    )
    const updates = Effect.gen(function* () {
      while (true) {
        const update = yield* receive(stream, Messages.request, client.messages)
        if (update._tag !== "Announce") return
        yield* actor.tell({ _tag: "Updated", key, peer: update.peer })
      }
    })
    yield* Effect.raceFirst(push, updates).pipe(
      Effect.catchIf(
        (error) => error.reason._tag === "StreamEnded",
        () => Effect.void
      ),
      Effect.onExit(() => leave(client, endpoint, role, key))
    )
  }, Effect.scoped)

  /**
   * Takes a registration back: at once when that was the client's wish, and when it was lost after the expiry time, or as
   * soon as its token is not for it any more.
   */
  const leave = Effect.fnUntraced(function* (client: Client, endpoint: EndpointName, role: Role, key: number) {
    const actor = yield* RcMap.get(actors, endpoint)
    const ended = client.connection.ended()
    const lost = ended !== undefined && !isFarewell(ended)
    if (!lost || Duration.isZero(options.endpointExpiry)) {
      yield* actor.tell({ _tag: "Withdrawn", key })
      yield* Effect.logInfo("endpoint.withdrawn").pipe(Effect.annotateLogs({ endpoint, role, client: client.id }))
      return
    }
    const expiresAt = (yield* Clock.currentTimeMillis) + Duration.toMillis(options.endpointExpiry)
    yield* actor.tell({ _tag: "Lost", key, expiresAt })
    yield* Effect.gen(function* () {
      const held = yield* RcMap.get(actors, endpoint)
      yield* Effect.raceFirst(client.guest.expelled, client.guest.revoked({ endpoint, role })).pipe(
        Effect.timeoutOption(options.endpointExpiry)
      )
      yield* held.tell({ _tag: "Withdrawn", key })
    }).pipe(Effect.scoped, Effect.forkIn(scope, { startImmediately: true }))
  }, Effect.scoped)

  /** Tells the relays that are there, each with what lets this client in, until the client leaves. */
  const offerRelays = Effect.fnUntraced(function* (
    client: Client,
    stream: TransportStream,
    { endpoint, role, clientCertificate }: Extract<Messages.Request, { _tag: "Relay" }>
  ) {
    const vouched = { endpoint, role, certificateKey: certificateKey(clientCertificate) }
    const authentications = new WeakMap<RegisteredRelay, Uint8Array>()
    const offer = (relay: RegisteredRelay) => {
      // The same bytes each time, so that nobody takes an old offer for a new one.
      const authentication = authentications.get(relay) ?? sealAuthentication(relay.sharedKey, vouched)
      authentications.set(relay, authentication)
      const { id, addresses, serverCertificate, metadata, carriers } = relay
      return { id, addresses, serverCertificate, metadata, carriers, authentication }
    }
    const push = SubscriptionRef.changes(options.relays).pipe(
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach((relays) =>
        send(stream, Messages.response, { _tag: "Relays", relays: relays.map(offer) }, client.messages)
      )
    )
    yield* Effect.raceFirst(push, receive(stream, Messages.request, client.messages))
  })

  const answerRequest = Effect.fnUntraced(function* (client: Client, stream: TransportStream) {
    const request = yield* receiveWithin(stream, Messages.request, client.messages, HELLO_DEADLINE)
    if (request._tag === "Unknown") {
      const message = "this control server does not know the request"
      return yield* sendRefusal(client, stream, { code: ErrorCode.RequestUnknown, message })
    }
    const refused = yield* client.guest.refusal(request)
    if (refused !== undefined) return yield* refuseRequest(client, stream, request, refused)
    const served =
      request._tag === "Announce" ? announce(client, stream, request) : offerRelays(client, stream, request)
    const revoked = yield* Effect.raceFirst(Effect.as(served, undefined), client.guest.revoked(request))
    if (revoked !== undefined) yield* refuseRequest(client, stream, request, revoked)
  })

  const serveClient = Effect.fnUntraced(function* (client: Client) {
    const requests = yield* FiberSet.make<void, never>()
    while (true) {
      const stream = yield* client.connection.accept
      yield* FiberSet.run(
        requests,
        answerRequest(client, stream).pipe(
          Effect.catchTag("ProtocolError", (error) => refuseMessage(client, stream, error)),
          Effect.ensuring(Effect.sync(() => stream.end().resume())),
          Effect.tapCause((cause) => Effect.logDebug("request ended", cause)),
          Effect.ignoreCause,
          Effect.annotateLogs({ client: client.id })
        )
      )
    }
  }, Effect.scoped)

  const handle = Effect.fnUntraced(
    function* (connection: Connection) {
      const client = yield* hello(connection)
      if (client === undefined) return
      yield* Effect.acquireRelease(
        Effect.sync(() => clients.add(client)),
        () => Effect.sync(() => clients.delete(client))
      )
      // Whoever is expelled has nothing announced any more when he is closed, so that he is not taken for lost.
      const expelled = yield* Effect.raceFirst(
        Effect.as(Effect.flip(serveClient(client)), undefined),
        client.guest.expelled
      )
      if (expelled !== undefined) yield* refuse("client.expelled", connection, client.guest, expelled)
      const ended = yield* connection.closed
      yield* Effect.logInfo("client.lost").pipe(Effect.annotateLogs({ client: client.id, reason: ended.message }))
    },
    Effect.scoped,
    Effect.catch((error) => Effect.logDebug("hello failed", error))
  )

  const snapshot = Effect.gen(function* () {
    const endpoints = new Map<EndpointName, Registry>()
    for (const name of yield* RcMap.keys(actors)) {
      const actor = yield* Effect.scoped(RcMap.get(actors, name))
      endpoints.set(name, actor.registry())
    }
    return {
      clients: [...clients].map(({ id, connectionId, metadata, connection }) => ({
        id,
        connectionId,
        metadata,
        address: connection.remoteAddress()
      })),
      endpoints
    }
  })

  return { snapshot, serve: (listener) => serve(listener, handle) } satisfies DirectoryServer
})

/** The client said that it leaves. */
const isFarewell = (ended: Effect.Success<Connection["closed"]>): boolean =>
  ended._tag === "Closed" && ended.by === "peer" && ended.application && ended.code === ErrorCode.Unknown

const refuse = (
  event: string,
  connection: Connection,
  guest: Guest,
  refusal: Refusal,
  answer?: Effect.Effect<unknown, ProtocolError>
) => turnAway(connection, { event, ...refusal }, answer).pipe(Effect.annotateLogs(tokenOf(guest)), Effect.as(undefined))

const refuseRequest = Effect.fnUntraced(function* (
  client: Client,
  stream: TransportStream,
  { endpoint, role }: Use,
  refused: Refusal
) {
  yield* Effect.logInfo("endpoint.refused").pipe(
    Effect.annotateLogs({ endpoint, role, ...tokenOf(client.guest), reason: refused.message })
  )
  yield* sendRefusal(client, stream, refused)
})

const sendRefusal = (client: Client, stream: TransportStream, { code, message }: Refusal) =>
  send(stream, Messages.response, { _tag: "Refused", code, message }, client.messages)

/** A message that cannot be understood is answered with the code for what is wrong with it. */
const refuseMessage = (client: Client, stream: TransportStream, error: ProtocolError) => {
  const { reason } = error
  if (reason._tag !== "ValueRefused" && reason._tag !== "Malformed" && reason._tag !== "FrameTooLarge")
    return Effect.void
  const path = reason._tag === "ValueRefused" ? reason.path : ""
  const code = path.endsWith("serverCertificate")
    ? ErrorCode.AnnounceInvalidServerCertificate
    : path.endsWith("clientCertificate")
      ? ErrorCode.AnnounceInvalidClientCertificate
      : ErrorCode.AnnounceValidationFailed
  return Effect.ignore(sendRefusal(client, stream, { code, message: error.message }))
}
