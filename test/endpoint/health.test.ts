/** Users of a source while the services beside its destinations come and go. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schedule } from "effect"
import type { Balancing } from "../../src/domain/Balancing.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { closedPort, makeWorld, named, type RunningClient, startService, visit } from "./World.ts"

const world = Effect.suspend(() => makeWorld(Layer.fresh(Memory.layer()), { relay: true }))

const ROUND_ROBIN: Balancing = { policy: "round-robin", retry: { _tag: "All" } }

/** Users whom a destination could not serve. */
const refusals = ({ events }: RunningClient) => events.filter(({ message }) => message === "service.unreachable").length

const USERS = 6

/** So many users, one after the other: who has answered them. */
const answers = (port: number) => Effect.replicateEffect(visit(port, ""), USERS)

/** Until it is so, and does not fail. */
const until = <E>(holds: Effect.Effect<boolean, E>) =>
  holds.pipe(
    Effect.filterOrFail(
      (is) => is,
      () => "not yet" as const
    ),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeout("12 seconds")
  )

describe.each(["direct", "relay"] as const)("a source that balances, route %s", (route) => {
  it.live("sends nobody to a service that is down, until it is back", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      const port = yield* closedPort
      const broken = yield* client({ destinations: { web: port }, route })
      yield* client({ destinations: { web: yield* startService(named("whole")) }, route })
      const source = yield* client({ sources: ["web"], route, balancing: ROUND_ROBIN })
      const users = yield* source.port("web")
      // Until both have been asked, and the source has heard what came of it.
      yield* until(Effect.map(Effect.exit(visit(users, "")), () => refusals(broken) > 0))
      yield* broken.says("service.down")
      yield* until(
        Effect.gen(function* () {
          const before = refusals(broken)
          yield* answers(users)
          return refusals(broken) === before
        })
      )
      const before = refusals(broken)
      assert.deepStrictEqual(new Set(yield* answers(users)), new Set(["whole:"]))
      assert.strictEqual(refusals(broken), before)

      yield* startService(named("mended"), port)
      yield* broken.says("service.up")
      yield* until(Effect.map(answers(users), (all) => all.includes("mended:")))
    })
  )

  it.live("still tries a service that is down when there is no other, and finds it back before the probe", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      const port = yield* closedPort
      const destination = yield* client({ destinations: { web: port }, route })
      const source = yield* client({ sources: ["web"], route })
      const users = yield* source.port("web")
      yield* until(Effect.map(Effect.exit(visit(users, "")), () => refusals(destination) > 0))
      yield* destination.says("service.down")
      yield* startService(named("mended"), port)
      assert.strictEqual(yield* visit(users, ""), "mended:")
    })
  )
})

describe("a destination with health-disable", () => {
  it.live("is asked every time", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      const broken = yield* client({ destinations: { web: yield* closedPort }, health: false })
      yield* client({ destinations: { web: yield* startService(named("whole")) } })
      const source = yield* client({ sources: ["web"], balancing: ROUND_ROBIN })
      const users = yield* source.port("web")
      yield* until(
        Effect.gen(function* () {
          yield* Effect.exit(answers(users))
          return refusals(broken) >= 2 * USERS
        })
      )
      assert.isUndefined(broken.events.find(({ message }) => message === "service.down"))
    })
  )
})
