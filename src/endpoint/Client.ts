/** The client as a role: one socket, one session with control, and the destinations and sources it was asked for. */
import { Context, type Duration, Effect, Layer, Option, type Redacted, Schedule, Stream, SubscriptionRef } from "effect"
import { Directory, type DirectoryStatus } from "../directory/client/Directory.ts"
import type { Balancing } from "../domain/Balancing.ts"
import type { TransportChoice } from "../domain/Carrier.ts"
import type { Encryption } from "../domain/Encryption.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import type { ProxyFor } from "../domain/Proxy.ts"
import type { Route } from "../domain/Route.ts"
import type { SocketAddress } from "../domain/SocketAddress.ts"
import type { HostPort } from "../internal/tcp.ts"
import type { FindUplink } from "../peer/natpmp/Uplink.ts"
import { type Incoming, type LocalEndpoint, Peers, type PeersSnapshot } from "../peer/Peers.ts"
import { FORWARDING_REQUEST, type ProxyVersion } from "../protocol/Connect.ts"
import { TransportEndpoint } from "../transport/Transport.ts"
import type { Trust } from "../transport/Trust.ts"
import type { Service } from "./destination/dialService.ts"
import { reachService, tcpDestination } from "./destination/tcpDestination.ts"
import { watchHealth } from "./destination/watchHealth.ts"
import { type FileDestinationOptions, fileDestination } from "./file/fileDestination.ts"
import { type HttpDestinationOptions, httpDestination } from "./http/httpDestination.ts"
import { httpSource } from "./http/httpSource.ts"
import { webSocketSource } from "./http/webSocketSource.ts"
import { makeDialer } from "./makeDialer.ts"
import type { Listen } from "./source/listenUsers.ts"
import { tcpSource } from "./source/tcpSource.ts"

export interface ClientEndpoint {
  readonly route: Route
  /** What may carry its links. */
  readonly transport: TransportChoice
  readonly dialTimeout: Duration.Duration | undefined
  /** How its relayed streams may be encrypted end to end; both ends need one in common. */
  readonly relayEncryptions: ReadonlyArray<Encryption>
}

export interface ClientDestination extends ClientEndpoint {
  readonly service: Service | WebService
  /** The header that tells the service who its users are. */
  readonly proxyHeader: ProxyVersion
  /** Whether sources may send the first bytes of a user before the answer; only without a header. Default true. */
  readonly earlyData?: boolean | undefined
  /** Whether sources are told when the service cannot be reached. Default true. */
  readonly health?: boolean | undefined
}

export interface ClientSource extends ClientEndpoint {
  readonly listen: Listen
  /** Undefined: a stream of bytes. */
  readonly offer?: Offer | undefined
  readonly balancing: Balancing
}

/** What serves streams itself. */
export type WebService =
  | (Omit<HttpDestinationOptions, "name" | "dialTimeout"> & { readonly _tag: "http" })
  | (FileDestinationOptions & { readonly _tag: "file" })

/** What users find where a source listens, other than a stream of bytes. */
export type Offer =
  | { readonly _tag: "http"; readonly basePath: string; readonly preserveHost: boolean }
  | { readonly _tag: "webSocket"; readonly path: string }

export interface ClientOptions {
  readonly server: HostPort
  /** Who the control server must be. */
  readonly trust: Trust
  readonly token: Redacted.Redacted<string>
  readonly metadata: string
  readonly buildVersion: string
  /** Where the one socket of the client is bound. */
  readonly directAddress: SocketAddress
  /** The way to the router that is asked to forward the port of that socket (NAT-PMP); undefined: none is. */
  readonly findUplink?: FindUplink | undefined
  /** The proxy for TCP connections to the control server and to relays; undefined: none for anybody. */
  readonly proxy?: ProxyFor | undefined
  readonly handshakeTimeout: Duration.Duration
  readonly destinations: ReadonlyMap<EndpointName, ClientDestination>
  readonly sources: ReadonlyMap<EndpointName, ClientSource>
}

/** Only sources open streams: what comes in on the connection of a source is refused. */
const refuseStreams = ({ connection }: Incoming): Effect.Effect<void> =>
  connection.accept.pipe(
    Effect.tap((stream) => Effect.sync(() => stream.destroy())),
    Effect.forever,
    Effect.ignore
  )

const runDestination = Effect.fnUntraced(function* (name: EndpointName, options: ClientDestination) {
  const { route, transport, dialTimeout, relayEncryptions } = options
  // Who serves requests reads it himself.
  const proxyHeader = options.service._tag === "http" ? "v2" : options.proxyHeader
  const service = yield* serviceOf(name, options)
  const reach = reachService(service, dialTimeout)
  const health = options.health === false ? undefined : yield* watchHealth(reach)
  const onConnection = tcpDestination({ name, service, proxyHeader, dial: health?.watched(reach) ?? reach })
  const endpoint = yield* Effect.flatMap(Peers, (peers) =>
    peers.endpoint({
      name,
      role: "destination",
      route,
      transport,
      relayEncryptions,
      earlyData: proxyHeader === "none" && options.earlyData !== false,
      serviceDown: health?.down,
      onConnection
    })
  )
  return yield* untilRefused(endpoint)
})

const serviceOf = (name: EndpointName, { service, dialTimeout }: ClientDestination) => {
  if (service._tag === "http") return httpDestination({ ...service, name, dialTimeout })
  return service._tag === "file" ? fileDestination(service) : Effect.succeed(service)
}

const runSource = Effect.fnUntraced(function* (name: EndpointName, options: ClientSource) {
  const { route, transport, listen, offer, balancing, dialTimeout, relayEncryptions } = options
  const endpoint = yield* Effect.flatMap(Peers, (peers) =>
    peers.endpoint({ name, role: "source", route, transport, relayEncryptions, onConnection: refuseStreams })
  )
  if (offer === undefined) yield* tcpSource(endpoint, { name, listen, balancing, dialTimeout })
  else {
    const request = offer._tag === "http" ? FORWARDING_REQUEST : undefined
    const dial = makeDialer(endpoint, dialTimeout, balancing, request)()
    if (offer._tag === "http") yield* httpSource(dial, { ...offer, name, listen })
    else yield* webSocketSource(dial, { ...offer, name, listen })
  }
  return yield* untilRefused(endpoint)
})

/** Says when control knows the endpoint, and runs until control refuses it. */
const untilRefused = Effect.fnUntraced(function* (endpoint: LocalEndpoint) {
  const answered = SubscriptionRef.changes(endpoint.peers).pipe(
    Stream.filter((peers) => peers !== undefined),
    Stream.runHead,
    Effect.map(Option.getOrThrow),
    Effect.flatMap((peers) => Effect.logInfo("endpoint.online").pipe(Effect.annotateLogs({ peers: peers.length }))),
    Effect.andThen(Effect.never)
  )
  return yield* Effect.raceFirst(answered, endpoint.refused)
})

/**
 * Runs everything until the Layer ends. Fails when control rejects the token. An endpoint that cannot run says so and is
 * tried again; it does not touch the others.
 */
const run = Effect.fnUntraced(function* (options: ClientOptions) {
  const directory = yield* Directory
  const endpoints = [
    ...[...options.destinations].map(([name, endpoint]) =>
      supervise("destination", name, runDestination(name, endpoint))
    ),
    ...[...options.sources].map(([name, endpoint]) => supervise("source", name, runSource(name, endpoint)))
  ]
  return yield* Effect.raceFirst(
    directory.failure,
    Effect.andThen(Effect.all(endpoints, { concurrency: "unbounded", discard: true }), Effect.never)
  )
})

const RETRY_EVERY = Schedule.spaced("10 seconds")

const supervise = <E extends { readonly message: string }, R>(
  role: string,
  name: EndpointName,
  endpoint: Effect.Effect<void, E, R>
) =>
  Effect.scoped(endpoint).pipe(
    Effect.tapError((error) => Effect.logError("endpoint.failed", error.message)),
    Effect.tapDefect((defect) => Effect.logError("endpoint.failed", defect)),
    Effect.sandbox,
    Effect.retry(RETRY_EVERY),
    Effect.ignore,
    Effect.annotateLogs({ endpoint: name, role })
  )

const layers = (options: ClientOptions) =>
  Peers.layer(options).pipe(
    Layer.provideMerge(Directory.layer(options)),
    Layer.provide(TransportEndpoint.layer({ address: options.directAddress }))
  )

/** What a client knows at the moment. */
export interface ClientSnapshot extends PeersSnapshot {
  readonly session: DirectoryStatus
}

/** Looks for its server from now on; the endpoints begin with `run`. */
const start = Effect.fnUntraced(function* (options: ClientOptions) {
  const services = yield* Layer.build(layers(options))
  const [directory, peers] = [Context.get(services, Directory), Context.get(services, Peers)]
  return {
    run: Effect.provide(run(options), services),
    snapshot: (): ClientSnapshot => ({ ...peers.snapshot(), session: SubscriptionRef.getUnsafe(directory.status) })
  }
})

export const Client = {
  /** Starts the client in the current Scope: `run` ends only when it cannot go on; `snapshot` is what it knows. */
  start,
  /** Runs the client. Ends only by failing, or by interruption. */
  run: (options: ClientOptions) => Effect.scoped(Effect.flatMap(start(options), ({ run }) => run)),
  /** The same as a Layer that is never complete: it fails when the client does. */
  layer: (options: ClientOptions) => Layer.effectDiscard(Client.run(options))
}
