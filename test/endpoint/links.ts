/** Direct links over memory whose far end is played by the test, and a source's endpoint that has them as its paths. */
import { Effect, SubscriptionRef } from "effect"
import { issueServer } from "../../src/certs/issue.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { type OpenPath, openPath } from "../../src/peer/OpenPath.ts"
import type { LocalEndpoint } from "../../src/peer/Peers.ts"
import { peerKey } from "../../src/peer/peerKey.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import type { Peer, RemotePeer } from "../../src/protocol/ClientControl.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { type Connection, serve, Transport } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }

export interface FarEnd {
  readonly near: Connection
  /** From now on nothing passes any more, in either direction. */
  readonly cut: () => void
}

/** Makes links; `play` is what the far end of each does. */
export const makeLinks = Effect.gen(function* () {
  const network = new Memory.MemoryNetwork()
  const transport = yield* Effect.provide(Transport, Memory.layer(network))
  const identity = yield* issueServer(["links.test"])
  const own = yield* transport.bind({ address: HERE })
  return Effect.fnUntraced(function* (play: (connection: Connection) => Effect.Effect<void>) {
    const far = yield* transport.bind({ address: HERE })
    const listener = yield* far.listen({ protocols: Alpn.direct, identity, trust: Trust.anyone })
    yield* Effect.forkScoped(
      serve(listener, (connection) => Effect.andThen(play(connection), Effect.asVoid(connection.closed)))
    )
    let cut = false
    const address = network.link(far.address, { delayMillis: () => 0, cut: () => cut })
    const near = yield* own.dial({ address, protocols: Alpn.direct, trust: Trust.anyone, timeout: "2 seconds" })
    const end: FarEnd = {
      near,
      cut: () => {
        cut = true
      }
    }
    return end
  })
})

/** A peer with certificates of its own, as control lists it. */
export const listedPeer = (id: string, facts: Partial<Peer> = {}): RemotePeer => ({
  id,
  metadata: "",
  peer: {
    directs: [],
    serverCertificate: Buffer.from(`server ${id}`),
    clientCertificate: Buffer.from(`client ${id}`),
    relayIds: [],
    ...facts
  }
})

/** A source's endpoint with these links as its paths, in this order of nearness, each to the peer at its place in the list. */
export const endpointWith = Effect.fnUntraced(function* (
  links: ReadonlyArray<FarEnd>,
  announced: ReadonlyArray<RemotePeer> = []
) {
  const paths = yield* SubscriptionRef.make<ReadonlyArray<OpenPath>>([])
  const suspect = (path: number) =>
    SubscriptionRef.update(paths, (all) =>
      all.map((one) => (one.id === path ? { ...one, state: "Suspect" as const } : one))
    )
  for (const [at, { near }] of links.entries()) {
    const peerId = announced[at] === undefined ? `peer ${at}` : peerKey(announced[at])
    const path = yield* openPath({
      peerId,
      listedAs: peerId,
      connection: near,
      direction: "outgoing",
      doubted: suspect
    })
    yield* SubscriptionRef.update(paths, (all) => [...all, { ...path, roundTripMillis: at + 1 }])
  }
  const endpoint: LocalEndpoint = {
    name: "web" as EndpointName,
    encryption: { offer: () => Effect.die("all links are direct"), answer: () => Effect.die("this is a source") },
    paths,
    peers: yield* SubscriptionRef.make<ReadonlyArray<RemotePeer> | undefined>(announced),
    refused: Effect.never
  }
  return endpoint
})
