/** What a client announces, with a control server that only listens. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import { Directory, type DirectoryStatus } from "../../src/directory/client/Directory.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { format } from "../../src/domain/SocketAddress.ts"
import { Peers } from "../../src/peer/Peers.ts"
import type { Peer, RemotePeer } from "../../src/protocol/ClientControl.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { Transport, TransportEndpoint } from "../../src/transport/Transport.ts"
import { answerTo } from "./natpmp/router.ts"

const CLIENT = { host: "192.168.1.23", port: 19_192 }
const GATEWAY = { host: "192.168.1.1", port: 5_351 }
const online: DirectoryStatus = {
  _tag: "Online",
  publicAddress: { host: "203.0.113.7", port: 5_000 },
  serverAddress: { host: "198.51.100.1", port: 19_190 },
  carrier: "quic"
}

/** A client behind a router that forwards its port for as long as the test wants. */
const world = Effect.gen(function* () {
  const transport = Memory.layer(new Memory.MemoryNetwork(), { carriers: ["quic", "tcp"] })
  const router = yield* Effect.provide(
    Transport.use(({ bind }) => bind({ address: GATEWAY })),
    transport
  )
  let forwards = true
  const grant = (protocol: "udp" | "tcp") => (forwards ? { udp: 40_000, tcp: 40_001 }[protocol] : undefined)
  yield* router.datagrams.receive.pipe(
    Effect.flatMap(({ from, bytes }) =>
      router.datagrams.send(from, answerTo(bytes, { host: "203.0.113.7", epochSeconds: 1, grant })!)
    ),
    Effect.forever,
    Effect.forkScoped
  )
  const announced: Array<SubscriptionRef.SubscriptionRef<Peer>> = []
  const status = yield* SubscriptionRef.make<DirectoryStatus>(online)
  const peers = yield* SubscriptionRef.make<ReadonlyArray<RemotePeer> | undefined>(undefined)
  const control = Layer.mock(Directory, {
    status,
    announce: ({ peer }) =>
      Effect.sync(() => {
        announced.push(peer)
        return { refused: Effect.never, peers }
      })
  })
  const options = { handshakeTimeout: Duration.seconds(1), metadata: "", buildVersion: "test" }
  const findUplink = Effect.succeed({ address: CLIENT.host, gateway: GATEWAY })
  const context = yield* Layer.build(
    Peers.layer({ ...options, findUplink }).pipe(
      Layer.provide([control, TransportEndpoint.layer({ address: CLIENT }).pipe(Layer.provide(transport))])
    )
  )
  yield* Peers.pipe(
    Effect.flatMap(({ endpoint }) =>
      endpoint({
        name: "web" as EndpointName,
        role: "source",
        route: "direct",
        transport: "auto",
        relayEncryptions: [],
        onConnection: () => Effect.never
      })
    ),
    Effect.provide(context)
  )
  return {
    announced: Effect.map(SubscriptionRef.get(announced[0]!), ({ directs, tcpDirects = [] }) => ({
      quic: directs.map(format),
      tcp: tcpDirects.map(format)
    })),
    stopForwarding: Effect.sync(() => {
      forwards = false
    })
  }
})

/** Lets a few milliseconds pass, at most, until a client announces these addresses; no question is repeated in them. */
const becomes = Effect.fnUntraced(function* <A>(announced: Effect.Effect<A>, expected: A) {
  const same = (now: A) => JSON.stringify(now) === JSON.stringify(expected)
  const later = Effect.andThen(TestClock.adjust("1 millis"), announced)
  assert.deepStrictEqual(yield* Effect.repeat(later, { times: 200, until: same }), expected)
})

describe("the addresses of a client", () => {
  it.effect("are the public one, what the router forwards, as long as it does, and its own, in this order", () =>
    Effect.gen(function* () {
      const { announced, stopForwarding } = yield* world
      yield* becomes(announced, {
        quic: ["203.0.113.7:5000", "203.0.113.7:40000", "192.168.1.23:19192"],
        tcp: ["203.0.113.7:19192", "203.0.113.7:40001", "192.168.1.23:19192"]
      })
      yield* stopForwarding
      yield* TestClock.adjust("300 seconds")
      yield* becomes(announced, {
        quic: ["203.0.113.7:5000", "192.168.1.23:19192"],
        tcp: ["203.0.113.7:19192", "192.168.1.23:19192"]
      })
    }).pipe(Effect.provide(Logger.layer([])))
  )
})
