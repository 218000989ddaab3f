/** Which carriers the links of clients take, over real sockets. */
import { once } from "node:events"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import type { TransportChoice } from "../../src/domain/Carrier.ts"
import * as Network from "../../src/transport/Network.ts"
import { makeWorld, named, type RunningClient, startService, visit } from "./World.ts"

const world = (transport: TransportChoice) => makeWorld(Layer.fresh(Network.layer({ transport })), { relay: true })

/** The carriers of all links that a client has had. */
const carriers = ({ events }: RunningClient) => [
  ...new Set(events.flatMap(({ fields }) => (typeof fields.carrier === "string" ? [fields.carrier] : [])))
]

describe("the links of clients", () => {
  it.live("are all over TCP where nothing else is allowed", () =>
    Effect.gen(function* () {
      const { client } = yield* world("tcp")
      const destination = yield* client({ destinations: { web: yield* startService(named("a")) } })
      const source = yield* client({ sources: ["web"] })
      yield* source.says("path.open")
      assert.strictEqual(yield* visit(yield* source.port("web"), "hello"), "a:hello")
      yield* Effect.all([source.says("relay.online"), destination.says("relay.online")])
      assert.deepEqual([carriers(source), carriers(destination)], [["tcp"], ["tcp"]])
    })
  )

  it.live("are over the carrier of their endpoint, whatever suits them", () =>
    Effect.gen(function* () {
      const { client } = yield* world("auto")
      const destinations = { web: yield* startService(named("a")) }
      for (const transport of ["tcp", "quic"] as const) {
        const destination = yield* client({ destinations, transport })
        const source = yield* client({ sources: ["web"], transport })
        const { fields } = yield* source.says("path.open")
        assert.strictEqual(fields.carrier, transport)
        assert.strictEqual((yield* source.says("relay.online")).fields.carrier, transport)
        assert.strictEqual(yield* visit(yield* source.port("web"), "hello"), "a:hello")
        yield* destination.stop
        yield* source.stop
      }
    })
  )

  it.live("go over to TCP when they are local, for new streams; what is under way stays where it is", () =>
    Effect.gen(function* () {
      const { client } = yield* world("auto")
      yield* client({ destinations: { web: yield* startService((socket) => void socket.pipe(socket)) } })
      const source = yield* client({ sources: ["web"], route: "direct" })
      yield* source.says("path.open", { carrier: "quic" })
      const port = yield* source.port("web")
      const user = connect({ port, host: "127.0.0.1" })
      const echo = (text: string) =>
        Effect.promise(async () => {
          user.write(text)
          assert.strictEqual(String((await once(user, "data"))[0]), text)
        })
      yield* echo("over QUIC")
      yield* source.says("path.open", { carrier: "tcp" })
      yield* visit(port, "x").pipe(
        Effect.andThen(Effect.suspend(() => source.says("path.selected", { reason: "bandwidth" }))),
        Effect.timeout("1 second"),
        Effect.retry(Schedule.recurs(5))
      )
      yield* echo("still over QUIC")
      user.destroy()
    })
  )
})
