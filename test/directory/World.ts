/** A control server and clients, each in its own Scope, over the transport in memory. */
import { Duration, Effect, Exit, Layer, Logger, Redacted, Schedule, Scope, SubscriptionRef } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { issueClient } from "../../src/certs/issue.ts"
import { Directory } from "../../src/directory/client/Directory.ts"
import { makeAccess } from "../../src/directory/server/Access.ts"
import { ControlServer } from "../../src/directory/server/ControlServer.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { Role } from "../../src/domain/Role.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import { type TokenRule, unrestricted } from "../../src/domain/TokenRule.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import * as Messages from "../../src/protocol/ClientControl.ts"
import { MAX_MESSAGE_BYTES } from "../../src/protocol/Frame.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { type Connection, Transport, TransportEndpoint } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }
export const WEB = "web" as EndpointName
export const OPTIONS = { width: 4 as const, limit: MAX_MESSAGE_BYTES }

/** What the token "good" may be used for unless a test says otherwise. */
export const GOOD: TokenRule = {
  ...unrestricted(Redacted.make("good")),
  names: { expression: "", matches: (name) => name !== "secret" }
}

export interface WorldOptions {
  readonly expiry?: Duration.Input
  /** For what the server logs; without it, nothing is seen of it. */
  readonly logger?: Logger.Logger<unknown, void>
}

export const world = Effect.fnUntraced(function* ({ expiry = "30 seconds", logger }: WorldOptions = {}) {
  const access = makeAccess([GOOD])
  const logs = Logger.layer(logger === undefined ? [] : [logger])
  const network = new Memory.MemoryNetwork()
  const transport = Memory.layer(network, { carriers: ["quic", "tcp"] })
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["127.0.0.1"])
  const certificate = (yield* issueClient).leaf.raw
  let address: SocketAddress = HERE
  let serverScope: Scope.Closeable

  const start = Effect.gen(function* () {
    serverScope = yield* Scope.make()
    const { clients } = yield* ControlServer.start({
      ingresses: [{ address, identity }],
      access,
      endpointExpiry: Duration.fromInputUnsafe(expiry)
    }).pipe(Effect.provideService(Scope.Scope, serverScope), Effect.provide([transport, logs]))
    address = clients[0]!
  })
  yield* start
  yield* Effect.addFinalizer(() => Effect.suspend(() => Scope.close(serverScope, Exit.void)))
  const trust = Trust.authorities("127.0.0.1", [authority.certificatePem])

  /** A client of ours in a Scope of its own. */
  const client = Effect.fnUntraced(function* (token = "good", link?: Memory.Link) {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const context = yield* Layer.build(
      Directory.layer({
        server: link === undefined ? address : network.link(address, link),
        trust,
        token: Redacted.make(token),
        metadata: "",
        handshakeTimeout: Duration.seconds(1),
        buildVersion: "test"
      }).pipe(
        Layer.provideMerge(TransportEndpoint.layer({ address: HERE })),
        Layer.provide([transport, Logger.layer([])])
      )
    ).pipe(Effect.provideService(Scope.Scope, scope))
    const directory = yield* Directory.pipe(Effect.provide(context))
    const announce = Effect.fnUntraced(function* (role: Role, endpoint: EndpointName = WEB, port = 1) {
      const own = yield* Scope.fork(scope)
      const peer = yield* SubscriptionRef.make<Messages.Peer>(peerAt(port))
      const announcement = yield* directory
        .announce({ endpoint, role, peer })
        .pipe(Effect.provideService(Scope.Scope, own))
      return { ...announcement, peer, withdraw: Scope.close(own, Exit.void) }
    })
    return { directory, announce, leave: Scope.close(scope, Exit.void) }
  })

  /** A connection without our client behind it: for saying anything at all. */
  const stranger = Effect.gen(function* () {
    const endpoint = yield* Effect.flatMap(Transport, ({ bind }) => bind({ address: HERE })).pipe(
      Effect.provide(transport)
    )
    return yield* endpoint.dial({ address, protocols: Alpn.control, trust, timeout: "1 second" })
  })

  const peerAt = (port: number): Messages.Peer => ({
    directs: [{ host: "192.0.2.1", port }],
    serverCertificate: identity.leaf.raw,
    clientCertificate: certificate,
    relayIds: []
  })

  return {
    access,
    client,
    stranger,
    peerAt,
    restart: Effect.andThen(
      Effect.suspend(() => Scope.close(serverScope, Exit.void)),
      start
    ),
    stop: Effect.suspend(() => Scope.close(serverScope, Exit.void))
  }
})

type Announcement = { readonly peers: SubscriptionRef.SubscriptionRef<ReadonlyArray<Messages.RemotePeer> | undefined> }

/** Waits until a client is told of peers at exactly these ports. */
export const told = ({ peers }: Announcement, ports: ReadonlyArray<number>) =>
  eventually(
    SubscriptionRef.get(peers),
    (list) => JSON.stringify(list?.map(({ peer }) => peer.directs[0]!.port).sort()) === JSON.stringify(ports)
  )

export const eventually = <A>(look: Effect.Effect<A>, holds: (value: A) => boolean) =>
  look.pipe(
    Effect.filterOrFail(
      holds,
      (value) => `it is ${JSON.stringify(value, (_, part) => (part?.type === "Buffer" ? "…" : part))}`
    ),
    Effect.retry(Schedule.spaced("5 millis")),
    Effect.timeout("8 seconds")
  )

/** Says hello by hand. */
export const hello = Effect.fnUntraced(function* (connection: Connection, token = "good") {
  const stream = yield* connection.open
  const request = { token: Redacted.make(token), reconnectToken: new Uint8Array(), buildVersion: "", metadata: "" }
  yield* send(stream, Messages.authenticateRequest, request, OPTIONS)
  return yield* receive(stream, Messages.authenticateResponse, OPTIONS)
})
