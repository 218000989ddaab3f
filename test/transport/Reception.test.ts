import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { issueServer } from "../../src/certs/issue.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { crowdedOut, makeReception, turnAway } from "../../src/transport/Reception.ts"
import { Transport } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }

/** The two ends of a connection. */
const pair = Effect.gen(function* () {
  const transport = yield* Transport
  const identity = yield* issueServer(["reception.test"])
  const [server, client] = [yield* transport.bind({ address: HERE }), yield* transport.bind({ address: HERE })]
  const listener = yield* server.listen({ protocols: ["p"], identity, trust: Trust.anyone })
  const theirs = yield* client.dial({ address: server.address, protocols: ["p"], trust: Trust.anyone, timeout: 1_000 })
  return { ours: yield* listener.accept, theirs }
}).pipe(Effect.provide(Memory.layer()))

const REFUSAL = { event: "test.refused", code: 100, message: "no" }

describe("the reception", () => {
  it.effect("admits 64 strangers of one address at a time", () =>
    Effect.gen(function* () {
      const { admit } = makeReception()
      const { ours } = yield* pair
      const scopes = yield* Effect.forEach(Array.from({ length: 65 }), () => Scope.make())
      const admitted = yield* Effect.forEach(scopes, (scope) =>
        admit(ours).pipe(Effect.provideService(Scope.Scope, scope))
      )
      assert.deepEqual([admitted.filter((yes) => yes).length, admitted[64]], [64, false])
      yield* Effect.forEach(scopes.slice(0, 2), (scope) => Scope.close(scope, Exit.void))
      assert.isTrue(yield* admit(ours))
      assert.isFalse(yield* admit(ours))
      yield* Effect.forEach(scopes.slice(2), (scope) => Scope.close(scope, Exit.void))
    }).pipe(Effect.scoped)
  )

  it.effect("turns one too many away with a code that lets it come back", () =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* pair
      yield* crowdedOut(ours, "test.refused")
      assert.deepInclude(yield* theirs.closed, { by: "peer", code: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("gives whoever is turned away a second to read why, and closes at once when he has gone", () =>
    Effect.gen(function* () {
      for (const leaves of [false, true]) {
        const { ours, theirs } = yield* pair
        const turning = yield* Effect.forkChild(turnAway(ours, REFUSAL, Effect.void))
        yield* TestClock.adjust(999)
        assert.isUndefined(theirs.ended())
        if (leaves) yield* theirs.close(0, "")
        else yield* TestClock.adjust(1)
        yield* Fiber.join(turning)
        if (!leaves) assert.deepInclude(theirs.ended(), { by: "peer", code: 100, text: "no" })
      }
    }).pipe(Effect.scoped)
  )

  it.effect("does not wait for somebody who does not take the answer", () =>
    Effect.gen(function* () {
      const { ours, theirs } = yield* pair
      const turning = yield* Effect.forkChild(turnAway(ours, REFUSAL, Effect.never))
      yield* TestClock.adjust(2_000)
      yield* Fiber.join(turning)
      assert.deepInclude(theirs.ended(), { by: "peer", code: 100 })
    }).pipe(Effect.scoped)
  )
})
