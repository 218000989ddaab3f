/** The first bytes of users, over links that take 20 ms each way: how many round trips until something comes back. */
import { once } from "node:events"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Network from "../../src/transport/Network.ts"
import { lossyLink } from "../transport/lossyLink.ts"
import { slowLink } from "../transport/slowLink.ts"
import { type Endpoints, makeWorld, startService } from "./World.ts"

const ROUND_TRIP_MILLIS = 40

const world = Effect.suspend(() =>
  makeWorld(Layer.fresh(Network.layer({ transport: "auto" })), {
    relay: true,
    over: (address, carrier) =>
      Effect.map(
        (carrier === "tcp" ? slowLink : lossyLink)(address, { delayMillis: ROUND_TRIP_MILLIS / 2 }),
        (link) => link.address
      )
  })
)

/** How long a user waits for the first byte, in milliseconds. */
const firstByte = (port: number, hello: string) =>
  Effect.promise(async () => {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true })
    await once(socket, "connect")
    const startedAt = performance.now()
    if (hello !== "") socket.write(hello)
    await once(socket, "data")
    const millis = performance.now() - startedAt
    socket.destroy()
    return millis
  })

const USERS = 8

/**
 * The wait for the first byte with a destination that takes first bytes early, and with one that does not: the shortest of
 * some, taken in turns, since a busy machine only makes them longer.
 */
const waits = Effect.fnUntraced(function* (options: Endpoints, greeting: boolean) {
  const { client } = yield* world
  const service = yield* startService((socket) => {
    if (greeting) socket.write("welcome")
    else socket.pipe(socket)
  })
  yield* client({ destinations: { new: service }, ...options })
  yield* client({ destinations: { old: service }, earlyData: false, ...options })
  const source = yield* client({ sources: ["new", "old"], ...options })
  const ports = { early: yield* source.port("new"), late: yield* source.port("old") }
  const best = { early: Number.POSITIVE_INFINITY, late: Number.POSITIVE_INFINITY }
  for (let user = 0; user < USERS; user++) {
    for (const which of ["early", "late"] as const) {
      best[which] = Math.min(best[which], yield* firstByte(ports[which], greeting ? "" : "hello"))
    }
  }
  return best
})

describe("the first byte of a new connection", () => {
  it.live.each(["quic", "tcp"] as const)("comes back in one round trip over %s, instead of two", (transport) =>
    Effect.gen(function* () {
      const { early, late } = yield* waits({ route: "direct", transport }, false)
      assert.isBelow(early, 0.8 * late)
      assert.isAbove(late, 1.8 * ROUND_TRIP_MILLIS)
    })
  )

  it.live.each(["quic", "tcp"] as const)("of a service that speaks first takes no longer over %s", (transport) =>
    Effect.gen(function* () {
      const { early, late } = yield* waits({ route: "direct", transport }, true)
      assert.isBelow(early, 1.6 * Math.max(late, ROUND_TRIP_MILLIS))
    })
  )

  it.live("comes back one round trip of the relay earlier, when streams through it are not encrypted once more", () =>
    Effect.gen(function* () {
      const { early, late } = yield* waits({ route: "relay", relayEncryptions: ["none"] }, false)
      // Three round trips instead of four, since the relay passes nothing on before the answer.
      assert.isBelow(early, 0.9 * late)
      assert.isAbove(late, 3.6 * ROUND_TRIP_MILLIS)
    })
  )
})
