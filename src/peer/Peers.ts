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
import { allowsCarrier, type Carrier, type TransportChoice } from "../domain/Carrier.ts"
import type { Encryption } from "../domain/Encryption.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import type { ProxyFor } from "../domain/Proxy.ts"
import type { Role } from "../domain/Role.ts"
import { allowsDirect, allowsRelay, type Route } from "../domain/Route.ts"
import { format, type SocketAddress } from "../domain/SocketAddress.ts"
import { Alpn } from "../protocol/Alpn.ts"
import type { Peer, RelayOffer, RemotePeer } from "../protocol/ClientControl.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import type { MessageOptions } from "../protocol/MessageStream.ts"
import { makeRelayLinks, type RelayLink } from "../relay/client/RelayLinks.ts"
import { type Connection, serve, TransportEndpoint } from "../transport/Transport.ts"
import { Trust } from "../transport/Trust.ts"
import { messageOptions } from "./DirectLink.ts"
import { makeRelayEncryption, type RelayEncryption } from "./encryption/RelayEncryption.ts"
import { localCandidates, localInterfaces } from "./localCandidates.ts"
import { type Mapped, mapPorts } from "./natpmp/mapPorts.ts"
import type { FindUplink } from "./natpmp/Uplink.ts"
import { type OpenPath, relayedPath } from "./OpenPath.ts"
import { peerKey } from "./peerKey.ts"
import { makeRemotePeerActor, type RemotePeerActor } from "./RemotePeerActor.ts"

export interface EndpointOptions {
  readonly name: EndpointName
  readonly role: Role
  readonly route: Route
  /** What may carry its links, direct ones and those to relays. */
  readonly transport: TransportChoice
  /** How its relayed streams may be encrypted end to end. */
  readonly relayEncryptions: ReadonlyArray<Encryption>
  /** Of a destination: that the bytes of a user may come right behind a connect request. */
  readonly earlyData?: boolean | undefined
  /** Of a destination: whether its service cannot be reached, as sources are to be told. */
  readonly serviceDown?: SubscriptionRef.SubscriptionRef<boolean> | undefined
  /** Takes care of the streams that come in on a connection of this endpoint, until it ends. */
  readonly onConnection: (incoming: Incoming) => Effect.Effect<void>
}

/** A connection on which streams of an endpoint come in. */
export interface Incoming {
  readonly connection: Connection
  /** How messages go on its streams. */
  readonly messages: MessageOptions
  /** Through a relay: what keeps the relay from reading. */
  readonly encryption: RelayEncryption | undefined
}

/** One of our endpoints, announced and connected to whoever announces its other side. */
export interface LocalEndpoint {
  readonly name: EndpointName
  /** For streams on relayed paths. */
  readonly encryption: RelayEncryption
  /** Every path to every remote peer. */
  readonly paths: SubscriptionRef.SubscriptionRef<ReadonlyArray<OpenPath>>
  /** Who announces the other side; undefined until control has answered. */
  readonly peers: SubscriptionRef.SubscriptionRef<ReadonlyArray<RemotePeer> | undefined>
  /** Fails when control refuses the endpoint. */
  readonly refused: Effect.Effect<never, DirectoryError>
}

/** What is known at the moment of one of our endpoints. */
export interface EndpointSnapshot {
  readonly name: EndpointName
  readonly role: Role
  /** Who announces the other side; undefined until control has answered. */
  readonly peers: ReadonlyArray<RemotePeer> | undefined
  readonly paths: ReadonlyArray<OpenPath>
  readonly relays: ReadonlyArray<RelayOffer>
  readonly links: ReadonlyArray<RelayLink>
}

/** What is known at the moment of this client's own addresses and of its endpoints. */
export interface PeersSnapshot {
  /** Where we listen. */
  readonly address: SocketAddress
  readonly local: ReadonlyArray<SocketAddress>
  /** As control saw us last. */
  readonly public: ReadonlyArray<SocketAddress>
  readonly mapped: Mapped
  readonly endpoints: ReadonlyArray<EndpointSnapshot>
}

export class Peers extends Context.Service<
  Peers,
  {
    /** Announces an endpoint and keeps paths to its peers, for as long as the Scope lives. */
    readonly endpoint: (options: EndpointOptions) => Effect.Effect<LocalEndpoint, never, Scope.Scope>
    readonly snapshot: () => PeersSnapshot
  }
>()("connet/peer/Peers") {
  static readonly layer = (options: PeersOptions) => Layer.effect(Peers, make(options))
}

export interface PeersOptions {
  /** For TCP connections to relays. */
  readonly proxy?: ProxyFor | undefined
  /** The way to the router that is asked to forward our port; undefined: none is. */
  readonly findUplink?: FindUplink | undefined
  readonly handshakeTimeout: Duration.Duration
  /** Free text that relays see. */
  readonly metadata: string
  readonly buildVersion: string
}

/** How often the addresses of this host are looked at. */
const LOOK_EVERY = Duration.seconds(30)

const make = Effect.fnUntraced(function* (options: PeersOptions) {
  const endpoint = yield* TransportEndpoint
  const directory = yield* Directory
  const server = yield* issueServer([realmName("connet.peer")])
  /** Who may come in, by the key of the certificate that they will show. */
  const expected = new Map<string, RemotePeerActor>()

  const own = yield* SubscriptionRef.make<OwnCandidates>({ quic: [], tcp: [] })
  /** As control saw us last over QUIC: it stays true for a while when control is away. */
  let publicAddress: SocketAddress | undefined
  /** A TCP port that the router forwards is the one we listen on: dialing shows control another one each time. */
  let publicTcpAddress: SocketAddress | undefined
  let localAddresses: ReadonlyArray<SocketAddress> = []
  const { findUplink } = options
  const mapped = yield* findUplink === undefined ? SubscriptionRef.make<Mapped>({}) : mapPorts({ endpoint, findUplink })
  const look = Effect.gen(function* () {
    const status = yield* SubscriptionRef.get(directory.status)
    if (status._tag === "Online") {
      if (status.carrier === "quic") publicAddress = status.publicAddress
      publicTcpAddress = { host: status.publicAddress.host, port: endpoint.address.port }
    }
    const known = yield* SubscriptionRef.get(own)
    localAddresses = localCandidates(endpoint.address, localInterfaces())
    const { udp, tcp } = yield* SubscriptionRef.get(mapped)
    const now = {
      quic: ownCandidates(publicAddress, udp, localAddresses),
      tcp: ownCandidates(publicTcpAddress, tcp, localAddresses)
    }
    if (JSON.stringify(now) !== JSON.stringify(known)) yield* SubscriptionRef.set(own, now)
  }).pipe(Effect.catchDefect((defect) => Effect.logDebug("cannot list the addresses of this host", defect)))
  const changes = Stream.merge(SubscriptionRef.changes(directory.status), SubscriptionRef.changes(mapped))
  yield* Stream.merge(changes, Stream.tick(LOOK_EVERY)).pipe(
    Stream.runForEach(() => look),
    Effect.tapCause((cause) => Effect.logDebug("address watch ended", cause)),
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

  /** Whoever announces the certificate of somebody else gets nothing that is meant for him: the first one keeps it. */
  const expect = (certificate: Uint8Array, actor: RemotePeerActor) => {
    const key = certificateKey(certificate)
    if (!expected.has(key)) expected.set(key, actor)
  }

  const refuse = (actor: RemotePeerActor) => {
    for (const [key, other] of expected) if (other === actor) expected.delete(key)
  }

  const opened = new Set<() => EndpointSnapshot>()

  const open = Effect.fnUntraced(function* (local: EndpointOptions) {
    const { name, role, route, transport } = local
    const carriers = endpoint.carriers.filter((carrier) => allowsCarrier(transport, carrier))
    if (carriers.length === 0) {
      yield* Effect.logWarning("endpoint.unreachable").pipe(
        Effect.annotateLogs({ endpoint: name, role, reason: `this client has no ${transport}` })
      )
    }
    const identity = yield* issueClient
    const peer = yield* SubscriptionRef.make<Peer>({
      directs: [],
      serverCertificate: server.leaf.raw,
      clientCertificate: identity.leaf.raw,
      relayIds: [],
      dhxcpEndRecord: true,
      ...(local.earlyData && { earlyData: true as const })
    })
    const announced = (change: Partial<Peer>) => SubscriptionRef.update(peer, (before) => ({ ...before, ...change }))
    if (allowsDirect(route)) {
      const candidates = ({ quic, tcp }: OwnCandidates) =>
        announced({
          directs: carriers.includes("quic") ? quic : [],
          tcpDirects: carriers.includes("tcp") ? tcp : []
        })
      const first = yield* SubscriptionRef.get(own)
      yield* candidates(first)
      yield* SubscriptionRef.changes(own).pipe(
        // They may have changed before the stream begins.
        Stream.dropWhile((now) => now === first),
        Stream.runForEach(candidates),
        Effect.tapCause((cause) => Effect.logDebug("candidate watch ended", cause)),
        Effect.forkScoped
      )
    }
    if (local.serviceDown !== undefined) {
      yield* SubscriptionRef.changes(local.serviceDown).pipe(
        Stream.runForEach((down) => SubscriptionRef.update(peer, (before) => withService(before, down))),
        Effect.tapCause((cause) => Effect.logDebug("health watch ended", cause)),
        Effect.forkScoped
      )
    }
    const { peers, refused } = yield* directory.announce({ endpoint: name, role, peer })
    const encryption = makeRelayEncryption({
      encryptions: local.relayEncryptions,
      serverIdentity: server,
      clientIdentity: identity,
      peers: () => SubscriptionRef.getUnsafe(peers) ?? []
    })

    const paths = yield* SubscriptionRef.make<ReadonlyArray<OpenPath>>([])
    const pathsOf = new Map<RemotePeerActor, ReadonlyArray<OpenPath>>()
    let relayed: ReadonlyArray<OpenPath> = []
    let relays: () => Pick<EndpointSnapshot, "relays" | "links"> = () => ({ relays: [], links: [] })
    const publish = Effect.suspend(() => SubscriptionRef.set(paths, [...[...pathsOf.values()].flat(), ...relayed]))

    if (allowsRelay(route)) {
      const offers = yield* directory.relays({ endpoint: name, role, clientCertificate: identity.leaf.raw })
      const { links, doubted } = yield* makeRelayLinks({
        ...options,
        endpoint,
        role,
        carriers,
        identity,
        offers,
        onLink: ({ connection, messages }) => local.onConnection({ connection, messages, encryption })
      }).pipe(Effect.annotateLogs({ endpoint: name, role }))
      relays = () => ({ relays: SubscriptionRef.getUnsafe(offers), links: SubscriptionRef.getUnsafe(links) })
      yield* SubscriptionRef.changes(links).pipe(
        Stream.map((links) => [...new Set(links.map(({ offer }) => offer.id))].sort()),
        Stream.changesWith((a, b) => a.join() === b.join()),
        Stream.runForEach((relayIds) => announced({ relayIds })),
        Effect.tapCause((cause) => Effect.logDebug("relay watch ended", cause)),
        Effect.forkScoped
      )
      /** A path is the same one for as long as its link and its peer are. */
      let known = new Map<string, OpenPath>()
      const onRelays = Effect.fnUntraced(function* ([links, peers]: readonly [
        ReadonlyArray<RelayLink>,
        ReadonlyArray<RemotePeer> | undefined
      ]) {
        const now = new Map<string, OpenPath>()
        for (const link of links) {
          for (const remote of peers ?? []) {
            if (!remote.peer.relayIds.includes(link.offer.id)) continue
            const peerId = peerKey(remote)
            const key = `${link.id} ${peerId}`
            const destinationKey = certificateKey(remote.peer.clientCertificate)
            const path =
              known.get(key) ??
              relayedPath({ peerId, listedAs: remote.id, link, destinationKey, doubted: doubted(link.id) })
            now.set(key, {
              ...path,
              state: link.state,
              roundTripMillis: link.roundTripMillis,
              distanceMillis: link.distanceMillis
            })
          }
        }
        known = now
        relayed = [...now.values()]
        yield* publish
      })
      yield* Stream.zipLatest(SubscriptionRef.changes(links), SubscriptionRef.changes(peers)).pipe(
        Stream.runForEach(onRelays),
        Effect.tapCause((cause) => Effect.logDebug("relayed paths ended", cause)),
        Effect.forkScoped
      )
    }
    const remotes = yield* FiberMap.make<string>()
    /** By certificates: who shows others is somebody else, and who shows the same is not, whatever control calls him. */
    const actors = new Map<string, RemotePeerActor>()

    /** Runs a remote peer from its first listing until nothing is left of it. */
    const runPeer = Effect.fnUntraced(function* (key: string, first: RemotePeer, started: Deferred.Deferred<void>) {
      const actor: RemotePeerActor = yield* makeRemotePeerActor({
        peerId: key,
        listedAs: first.id,
        name,
        role,
        endpoint,
        carriers,
        identity,
        handshakeTimeout: options.handshakeTimeout,
        onConnection: (connection) =>
          local.onConnection({ connection, messages: messageOptions(connection), encryption: undefined }),
        onPaths: (own) => {
          pathsOf.set(actor, own)
          return publish
        }
      })
      actors.set(key, actor)
      yield* Deferred.succeed(started, undefined)
      yield* Effect.logInfo("peer.met")
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          if (actors.get(key) === actor) actors.delete(key)
          refuse(actor)
          pathsOf.delete(actor)
          yield* publish
          // Listed again while it was ending: look at the list once more, now that there is room for a new actor.
          const listed = yield* SubscriptionRef.get(peers)
          if (listed?.some((remote) => peerKey(remote) === key)) yield* SubscriptionRef.set(peers, [...listed])
        })
      )
      yield* actor.ended
      yield* Effect.logInfo("peer.gone")
    }, Effect.scoped)

    const onPeers = Effect.fnUntraced(function* (listed: ReadonlyArray<RemotePeer>) {
      const keys = new Set(listed.map(peerKey))
      const ids = new Set(listed.map(({ id }) => id))
      for (const [key, actor] of actors) {
        if (keys.has(key)) continue
        refuse(actor)
        yield* actor.unlisted({ replaced: ids.has(actor.listedAs) })
      }
      for (const remote of listed) {
        const key = peerKey(remote)
        if (!actors.has(key)) {
          const started = yield* Deferred.make<void>()
          const running = runPeer(key, remote, started).pipe(
            Effect.tapCause((cause) => Effect.logDebug("peer ended", cause)),
            Effect.annotateLogs({ endpoint: name, role, peer: remote.id })
          )
          yield* FiberMap.run(remotes, key, running)
          yield* Deferred.await(started)
        }
        const actor = actors.get(key)
        if (actor === undefined) continue
        if (allowsDirect(route)) expect(remote.peer.clientCertificate, actor)
        yield* actor.listed(allowsDirect(route) ? remote : withoutDirects(remote))
      }
    })
    yield* SubscriptionRef.changes(peers).pipe(
      Stream.filter((listed) => listed !== undefined),
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(onPeers),
      Effect.tapCause((cause) => Effect.logDebug("list of peers ended", cause)),
      Effect.forkScoped
    )
    const snapshot = () => ({
      name,
      role,
      peers: SubscriptionRef.getUnsafe(peers),
      paths: SubscriptionRef.getUnsafe(paths),
      ...relays()
    })
    yield* Effect.acquireRelease(
      Effect.sync(() => opened.add(snapshot)),
      () => Effect.sync(() => opened.delete(snapshot))
    )
    return { name, encryption, paths, peers, refused } satisfies LocalEndpoint
  })

  const snapshot = () => ({
    address: endpoint.address,
    local: localAddresses,
    public: unique([publicAddress, publicTcpAddress]),
    mapped: SubscriptionRef.getUnsafe(mapped),
    endpoints: [...opened].map((endpoint) => endpoint())
  })
  return Peers.of({ endpoint: open, snapshot })
})

/** Where we take what, for links of our own. */
type OwnCandidates = Readonly<Record<Carrier, ReadonlyArray<SocketAddress>>>

/** What control takes at most. */
const MAX_CANDIDATES = 64

/** Each once, the public one first as other programs expect it, then the one that the router forwards. */
const ownCandidates = (
  publicAddress: SocketAddress | undefined,
  forwarded: SocketAddress | undefined,
  local: ReadonlyArray<SocketAddress>
): ReadonlyArray<SocketAddress> => unique([publicAddress, forwarded, ...local]).slice(0, MAX_CANDIDATES)

const unique = (addresses: ReadonlyArray<SocketAddress | undefined>): ReadonlyArray<SocketAddress> => [
  ...new Map(addresses.filter((address) => address !== undefined).map((address) => [format(address), address])).values()
]

/** The same announcement when nothing of it changes. */
const withService = (peer: Peer, down: boolean): Peer => {
  if (down === (peer.serviceDown === true)) return peer
  const { serviceDown: _, ...rest } = peer
  return down ? { ...rest, serviceDown: true } : rest
}

const withoutDirects = (remote: RemotePeer): RemotePeer => ({
  ...remote,
  peer: { ...remote.peer, directs: [], tcpDirects: [] }
})
