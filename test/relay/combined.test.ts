/** A control server and a relay in one process, and clients of ours with links to it. */
import { once } from "node:events"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, Redacted, Scope } from "effect"
import { makeAccess } from "../../src/directory/server/Access.ts"
import { unrestricted } from "../../src/domain/TokenRule.ts"
import * as Connect from "../../src/protocol/Connect.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import { startCombined } from "../../src/relay/server/Relay.ts"
import { type BindOptions, Transport } from "../../src/transport/Transport.ts"
import { HERE, makeWorld } from "./World.ts"

describe("a control server with a relay of its own", () => {
  it.live("offers that relay to its clients, carries their streams, and ends with its Scope", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const { scope, close } = yield* world.ownScope
      const running = yield* startCombined({
        control: {
          ingresses: [{ address: HERE, identity: world.identity }],
          access: makeAccess([unrestricted(Redacted.make("good"))]),
          endpointExpiry: Duration.seconds(30)
        },
        relay: { ingresses: [{ address: HERE, advertised: [HERE] }], limits: {}, buildVersion: "test" }
      }).pipe(Effect.provideService(Scope.Scope, scope), Effect.provide([world.transport, Logger.layer([])]))
      yield* running.run.pipe(Effect.provide(Logger.layer([])), Effect.forkIn(scope))
      world.at.clients = running.clients[0]!
      world.at.relay = running.relays[0]!

      const offer = yield* world.theOffer(yield* world.offersFor((yield* world.client).leaf.raw, "source"))
      assert.deepInclude(offer, { addresses: running.relays, metadata: "embedded relay" })
      const [source, destination] = [yield* world.guest("source"), yield* world.guest("destination")]
      const stream = yield* source.connection.open
      yield* send(stream, Connect.connectRequest, { _tag: "Connect", encryptions: [] }, source.messages)
      const asked = yield* destination.connection.accept
      yield* receive(asked, Connect.connectRequest, destination.messages)
      const answer = { _tag: "Connected", proxy: "none", encryption: "none" } as const
      yield* send(asked, Connect.connectResponse, answer, destination.messages)
      assert.deepEqual(yield* receive(stream, Connect.connectResponse, source.messages), answer)

      const cut = once(stream.resume(), "error")
      yield* close
      yield* Effect.promise(() => cut)
      assert.deepInclude(yield* source.connection.closed, { _tag: "Closed", by: "peer" })
    }).pipe(Effect.scoped)
  )

  it.live("asks at each of its sockets who may come in there", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld
      const { bind } = yield* Effect.provide(Transport, world.transport)
      const asked: Array<BindOptions["admits"]> = []
      const transport = Layer.succeed(Transport, {
        bind: (options) => {
          asked.push(options.admits)
          return bind(options)
        }
      })
      const admits = [() => true, () => true]
      const address = HERE
      const { identity } = world
      yield* startCombined({
        control: {
          ingresses: [{ address, identity, admits: admits[0] }],
          access: makeAccess([]),
          endpointExpiry: Duration.zero
        },
        relay: { ingresses: [{ address, advertised: [], admits: admits[1] }], limits: {}, buildVersion: "test" }
      }).pipe(Effect.provide([transport, Logger.layer([])]))
      assert.deepEqual(asked, admits)
    }).pipe(Effect.scoped)
  )
})
