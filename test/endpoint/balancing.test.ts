/** Users of one source, spread over several destinations that come and go. */
import { once } from "node:events"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import type { Balancing } from "../../src/domain/Balancing.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { closedPort, makeWorld, named, startService, visit } from "./World.ts"

const world = Effect.suspend(() => makeWorld(Layer.fresh(Memory.layer()), { relay: true }))

const NAMES = ["a", "b", "c"]
const ROUND_ROBIN: Balancing = { policy: "round-robin", retry: { _tag: "All" } }

/** A user who stays while the Scope is open: what the service says to him first. */
const holdOpen = (port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => connect({ port, host: "127.0.0.1" }).on("error", () => {})),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(
    Effect.flatMap((socket) =>
      Effect.tryPromise(async () => {
        const [said] = await once(socket, "data")
        return String(said)
      })
    ),
    Effect.timeout("5 seconds")
  )

/** Who answers so many users, one after the other. */
const tally = Effect.fnUntraced(function* (port: number, users: number) {
  const answers = new Map<string, number>()
  for (let user = 0; user < users; user++) {
    const answer = yield* visit(port, "")
    answers.set(answer, (answers.get(answer) ?? 0) + 1)
  }
  return answers
})

/** Until the source has a path to each of these. */
const untilAll = (port: number, count: number) =>
  tally(port, 2 * count).pipe(
    Effect.filterOrFail(
      (answers) => answers.size === count,
      () => "not all of them" as const
    ),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("12 seconds")
  )

describe.each(["direct", "relay"] as const)("a source that balances, route %s", (route) => {
  it.live("sends users to all destinations in turn", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      for (const name of NAMES) yield* client({ destinations: { web: yield* startService(named(name)) }, route })
      const source = yield* client({ sources: ["web"], route, balancing: ROUND_ROBIN })
      const port = yield* source.port("web")
      yield* untilAll(port, 3)
      assert.deepStrictEqual(
        [...(yield* tally(port, 30))].sort(),
        NAMES.map((name) => [`${name}:`, 10])
      )
    })
  )

  it.live("lets no new user fail when one of three destinations is killed, and a fourth has no service", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      yield* client({ destinations: { web: yield* closedPort }, route })
      yield* client({ destinations: { web: yield* startService(named("a")) }, route })
      yield* client({ destinations: { web: yield* startService(named("b")) }, route })
      const killed = yield* client({ destinations: { web: yield* startService(named("c")) }, route })
      const source = yield* client({ sources: ["web"], route, balancing: ROUND_ROBIN })
      const port = yield* source.port("web")
      yield* untilAll(port, 3)
      yield* tally(port, 20)
      // Between two users: whoever is connected already goes down with his destination.
      yield* killed.stop
      const answers = yield* tally(port, 40)
      assert.includeMembers([...answers.keys()], ["a:", "b:"])
    })
  )
})

describe("a source that balances", () => {
  it.live("counts a destination once, also when control was started again and calls it otherwise", () =>
    Effect.gen(function* () {
      const { client, stopServer, startServer, blockDirect, unblockDirect } = yield* world
      yield* client({ destinations: { web: yield* startService(named("a")) } })
      yield* client({ destinations: { web: yield* startService(named("b")) }, route: "direct" })
      const source = yield* client({ sources: ["web"], balancing: ROUND_ROBIN })
      const port = yield* source.port("web")
      yield* untilAll(port, 2)
      yield* stopServer
      yield* startServer
      const opened = () => source.events.filter(({ message }) => message === "path.open").length
      // Now only a relayed path leads anywhere, and control has told of it under another name.
      yield* blockDirect
      yield* Effect.retry(visit(port, ""), Schedule.spaced("50 millis")).pipe(Effect.timeout("12 seconds"))
      const before = opened()
      yield* unblockDirect
      yield* Effect.suspend(() => (opened() >= before + 2 ? Effect.void : Effect.fail("not yet" as const))).pipe(
        Effect.retry(Schedule.spaced("10 millis")),
        Effect.timeout("30 seconds")
      )
      yield* untilAll(port, 2)
      assert.deepStrictEqual([...(yield* tally(port, 12))].sort(), [
        ["a:", 6],
        ["b:", 6]
      ])
    })
  )

  it.live("sends users to whoever has the fewest, and counts them until they are gone", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      let open = 0
      const holding = { a: 0, b: 0 }
      for (const name of ["a", "b"] as const) {
        const service = yield* startService((socket) => {
          holding[name]++
          open++
          socket.resume().once("close", () => {
            holding[name]--
            open--
          })
          socket.on("end", () => socket.end()).write(name)
        })
        yield* client({ destinations: { web: service } })
      }
      const source = yield* client({
        sources: ["web"],
        balancing: { policy: "least-conns", retry: { _tag: "All" } }
      })
      const port = yield* source.port("web")
      const stay = holdOpen(port)
      // Until both are reached, all go to the one that is.
      yield* Effect.scoped(Effect.all([stay, stay])).pipe(
        Effect.filterOrFail(
          ([first, second]) => first !== second,
          () => "not both" as const
        ),
        Effect.retry(Schedule.spaced("50 millis")),
        Effect.timeout("12 seconds")
      )
      yield* Effect.suspend(() => (open === 0 ? Effect.void : Effect.fail("open" as const))).pipe(
        Effect.retry(Schedule.spaced("10 millis")),
        Effect.timeout("5 seconds")
      )
      for (let user = 0; user < 10; user++) yield* stay
      assert.deepStrictEqual(holding, { a: 5, b: 5 })
    })
  )
})
