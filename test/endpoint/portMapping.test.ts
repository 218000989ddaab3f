/** Clients that reach each other only where a router forwards the port of one, over real sockets. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import * as SocketAddress from "../../src/domain/SocketAddress.ts"
import * as Network from "../../src/transport/Network.ts"
import { answerTo } from "../peer/natpmp/router.ts"
import { closedPort, makeWorld, named, startService, visit } from "./World.ts"

const OUTSIDE = "203.0.113.7"
const PORTS = { udp: 40_000, tcp: 40_001 }

/** A router on this machine, with what it forwards. */
const startRouter = Effect.acquireRelease(
  Effect.promise(async () => {
    const socket = createSocket("udp4")
    const forwarded = new Map<string, SocketAddress.SocketAddress>()
    let startedAt = performance.now() - 1_000_000
    const epoch = () => Math.floor((performance.now() - startedAt) / 1_000)
    socket.on("message", (bytes, from) => {
      const answer = answerTo(bytes, {
        host: OUTSIDE,
        epochSeconds: epoch(),
        grant: (protocol, port, _wished, lifetimeSeconds) => {
          const outside = SocketAddress.format({ host: OUTSIDE, port: PORTS[protocol] })
          if (lifetimeSeconds === 0) forwarded.delete(outside)
          else forwarded.set(outside, { host: from.address, port })
          return PORTS[protocol]
        }
      })
      if (answer !== undefined) socket.send(answer, from.port, from.address)
    })
    socket.bind(0, "127.0.0.1")
    await once(socket, "listening")
    socket.setMulticastInterface("127.0.0.1")
    const restart = () => {
      startedAt = performance.now()
      forwarded.clear()
      const announcement = answerTo(Uint8Array.of(0, 0), { host: OUTSIDE, epochSeconds: epoch(), grant: () => 0 })!
      socket.send(announcement, 5_350, "224.0.0.1")
    }
    return { socket, forwarded, restart, gateway: { host: "127.0.0.1", port: socket.address().port } }
  }),
  ({ socket }) => Effect.sync(() => socket.close())
)

describe("a client that nobody reaches but through its router", () => {
  it.live("is reached by QUIC and by TCP at the ports that the router forwards, and gives them back", () =>
    Effect.gen(function* () {
      const { forwarded, gateway } = yield* startRouter
      const nowhere = { host: "127.0.0.1", port: yield* closedPort }
      const { client } = yield* makeWorld(Layer.fresh(Network.layer()), {
        over: (address) => Effect.sync(() => forwarded.get(SocketAddress.format(address)) ?? nowhere)
      })
      const findUplink = Effect.succeed({ address: "127.0.0.1", gateway })
      const destination = yield* client({ destinations: { web: yield* startService(named("a")) }, findUplink })
      const { fields } = yield* destination.says("portmap.open", { protocol: "udp" })
      assert.deepInclude(fields, { external: `${OUTSIDE}:${PORTS.udp}`, lifetimeSeconds: 600 })
      yield* destination.says("portmap.open", { protocol: "tcp", external: `${OUTSIDE}:${PORTS.tcp}` })

      const source = yield* client({ sources: ["web"], route: "direct" })
      yield* source.says("path.open", { carrier: "quic", direction: "outgoing" })
      assert.strictEqual(yield* visit(yield* source.port("web"), "hello"), "a:hello")
      yield* source.says("path.open", { carrier: "tcp", direction: "outgoing" })

      assert.strictEqual(forwarded.size, 2)
      yield* destination.stop
      assert.deepStrictEqual([...forwarded], [])
    })
  )

  it.live("loses its ports when the router tells all hosts that it was started again", () =>
    Effect.gen(function* () {
      const { gateway, restart } = yield* startRouter
      const { client } = yield* makeWorld(Layer.fresh(Network.layer()))
      const findUplink = Effect.succeed({ address: "127.0.0.1", gateway })
      const destination = yield* client({ destinations: { web: yield* startService(named("a")) }, findUplink })
      yield* destination.says("portmap.open", { protocol: "tcp" })
      // Routers say it ten times.
      yield* Effect.forkScoped(Effect.repeat(Effect.sync(restart), Schedule.spaced("50 millis")))
      const reason = "the router was started again"
      yield* destination.says("portmap.lost", { protocol: "udp", reason })
      yield* destination.says("portmap.lost", { protocol: "tcp", reason })
    })
  )
})
