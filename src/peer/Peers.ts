/**
 * All endpoints of one client with their remote peers: one direct listener, one identity towards those who dial us, and
 * for each endpoint an identity of its own towards those we dial.
 *
 * A connection that comes in is told apart by the certificate it shows: each remote peer announced its own for exactly
 * one of our endpoints. Nobody else may enter.
 */
import { Context, Deferred, Duration, Effect, FiberMap, Layer, type Scope, Stream, SubscriptionRef } from "effect"
import { certificateKey } from "../certs/certificateKey.ts"
import { issueClient, issueServer } from "../certs/issue.ts"
import { realmName } from "../certs/realmName.ts"
import { Directory } from "../directory/client/Directory.ts"
import type { DirectoryError } from "../directory/DirectoryError.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import type { Role } from "../domain/Role.ts"
import { allowsDirect, type Route } from "../domain/Route.ts"
import type { SocketAddress } from "../domain/SocketAddress.ts"
import { Alpn } from "../protocol/Alpn.ts"
import type { Peer, RemotePeer } from "../protocol/ClientControl.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import { type Connection, serve, TransportEndpoint } from "../transport/Transport.ts"
import { Trust } from "../transport/Trust.ts"
import { localCandidates, localInterfaces } from "./localCandidates.ts"
import { makeRemotePeerActor, type OpenPath, type RemotePeerActor } from "./RemotePeerActor.ts"

export interface EndpointOptions {
  readonly name: EndpointName
  readonly role: Role
  readonly route: Route
  /** Takes care of the streams that come in on a connection of this endpoint, until it ends. */
  readonly onConnection: (connection: Connection) => Effect.Effect<void>
}

/** One of our endpoints, announced and connected to whoever announces its other side. */
export interface LocalEndpoint {
  readonly name: EndpointName
  /** Every path to every remote peer. */
  readonly paths: SubscriptionRef.SubscriptionRef<ReadonlyArray<OpenPath>>
  /** Who announces the other side; undefined until control has answered. */
  readonly peers: SubscriptionRef.SubscriptionRef<ReadonlyArray<RemotePeer> | undefined>
  /** Says that a path has not answered somebody who used it. */
  readonly missed: (path: OpenPath) => Effect.Effect<void>
  /** Fails when control refuses the endpoint. */
  readonly refused: Effect.Effect<never, DirectoryError>
}

export class Peers extends Context.Service<
  Peers,
  {
    /** Announces an endpoint and keeps paths to its peers, for as long as the Scope lives. */
    readonly endpoint: (options: EndpointOptions) => Effect.Effect<LocalEndpoint, never, Scope.Scope>
  }
>()("connet/peer/Peers") {
  static readonly layer = (options: PeersOptions) => Layer.effect(Peers, make(options))
}

export interface PeersOptions {
  readonly handshakeTimeout: Duration.Duration
}

/** How often the addresses of this host are looked at. */
const LOOK_EVERY = Duration.seconds(30)

const make = Effect.fnUntraced(function* (options: PeersOptions) {
  const endpoint = yield* TransportEndpoint
  const directory = yield* Directory
  const server = yield* issueServer([realmName("connet.peer")])
  /** Who may come in, by the key of the certificate that they will show. */
  const expected = new Map<string, RemotePeerActor>()

  const directs = yield* SubscriptionRef.make<ReadonlyArray<SocketAddress>>([])
  const look = Effect.gen(function* () {
    const status = yield* SubscriptionRef.get(directory.status)
    const known = yield* SubscriptionRef.get(directs)
    const seen = status._tag === "Online" ? [status.publicAddress] : known.slice(0, 1)
    const now = [...seen, ...localCandidates(endpoint.address, localInterfaces())].slice(0, MAX_CANDIDATES)
    if (JSON.stringify(now) !== JSON.stringify(known)) yield* SubscriptionRef.set(directs, now)
  })
  yield* Stream.merge(SubscriptionRef.changes(directory.status), Stream.tick(LOOK_EVERY)).pipe(
    Stream.runForEach(() => look),
    Effect.forkScoped
  )

  const listener = yield* endpoint.listen({
    protocols: Alpn.direct,
    identity: server,
    trust: Trust.expected((certificate) => expected.has(certificateKey(certificate)))
  })
  const welcome = (connection: Connection) => {
    const { peerCertificate } = connection
    const actor = peerCertificate && expected.get(certificateKey(peerCertificate))
    return actor === undefined
      ? connection.close(ErrorCode.AuthenticationFailed, "the peer is not expected any more")
      : actor.accept(connection)
  }
  yield* serve(listener, welcome).pipe(
    Effect.tapCause((cause) => Effect.logDebug("direct listener ended", cause)),
    Effect.forkScoped
  )

  const open = Effect.fnUntraced(function* (local: EndpointOptions) {
    const { name, role, route } = local
    const identity = yield* issueClient
    const peer = yield* SubscriptionRef.make<Peer>({
      directs: [],
      serverCertificate: server.leaf.raw,
      clientCertificate: identity.leaf.raw,
      relayIds: []
    })
    if (allowsDirect(route)) {
      const update = (now: ReadonlyArray<SocketAddress>) =>
        SubscriptionRef.update(peer, (peer) => ({ ...peer, directs: now }))
      yield* update(yield* SubscriptionRef.get(directs))
      yield* SubscriptionRef.changes(directs).pipe(Stream.drop(1), Stream.runForEach(update), Effect.forkScoped)
    }
    const { peers, refused } = yield* directory.announce({ endpoint: name, role, peer })

    const paths = yield* SubscriptionRef.make<ReadonlyArray<OpenPath>>([])
    const remotes = yield* FiberMap.make<string>()
    const actors = new Map<string, RemotePeerActor>()

    /** Runs a remote peer from its first listing until nothing is left of it. */
    const runPeer = Effect.fnUntraced(function* (first: RemotePeer, started: Deferred.Deferred<void>) {
      const actor = yield* makeRemotePeerActor({
        peerId: first.id,
        endpoint,
        identity,
        handshakeTimeout: options.handshakeTimeout,
        onConnection: local.onConnection,
        onPaths: (own) =>
          SubscriptionRef.update(paths, (all) => [...all.filter(({ peerId }) => peerId !== first.id), ...own])
      })
      actors.set(first.id, actor)
      yield* Deferred.succeed(started, undefined)
      yield* Effect.logInfo("peer.met")
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          if (actors.get(first.id) === actor) actors.delete(first.id)
          for (const [key, other] of expected) if (other === actor) expected.delete(key)
          yield* SubscriptionRef.update(paths, (all) => all.filter(({ peerId }) => peerId !== first.id))
          // Listed again while it was ending: look at the list once more, now that there is room for a new actor.
          const listed = yield* SubscriptionRef.get(peers)
          if (listed?.some(({ id }) => id === first.id)) yield* SubscriptionRef.set(peers, [...listed])
        })
      )
      yield* actor.ended
      yield* Effect.logInfo("peer.gone")
    }, Effect.scoped)

    const onPeers = Effect.fnUntraced(function* (listed: ReadonlyArray<RemotePeer>) {
      const ids = new Set(listed.map(({ id }) => id))
      for (const [id, actor] of actors) if (!ids.has(id)) yield* actor.unlisted
      for (const remote of listed) {
        if (!actors.has(remote.id)) {
          const started = yield* Deferred.make<void>()
          const running = runPeer(remote, started).pipe(
            Effect.tapCause((cause) => Effect.logDebug("peer ended", cause)),
            Effect.annotateLogs({ endpoint: name, role, peer: remote.id })
          )
          yield* FiberMap.run(remotes, remote.id, running)
          yield* Deferred.await(started)
        }
        const actor = actors.get(remote.id)
        if (actor === undefined) continue
        expected.set(certificateKey(remote.peer.clientCertificate), actor)
        yield* actor.listed(allowsDirect(route) ? remote : withoutDirects(remote))
      }
    })
    yield* SubscriptionRef.changes(peers).pipe(
      Stream.filter((listed) => listed !== undefined),
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(onPeers),
      Effect.forkScoped
    )
    return {
      name,
      paths,
      peers,
      refused,
      missed: (path) => actors.get(path.peerId)?.missed(path.id) ?? Effect.void
    } satisfies LocalEndpoint
  })

  return Peers.of({ endpoint: open })
})

/** What control takes at most. */
const MAX_CANDIDATES = 64

const withoutDirects = (remote: RemotePeer): RemotePeer => ({ ...remote, peer: { ...remote.peer, directs: [] } })
