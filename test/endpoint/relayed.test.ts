/** Sources and destinations with a relay in reach, and direct paths that open and die. */
import { once } from "node:events"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Schedule } from "effect"
import type { Route } from "../../src/domain/Route.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { makeWorld, named, startService, visit } from "./World.ts"

const world = Effect.suspend(() => makeWorld(Layer.fresh(Memory.layer()), { relay: true }))

/** A connection that stays: says one word at a time, and hears it back. */
const talk = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = connect({ port, host: "127.0.0.1" }).on("error", () => {})
      await once(socket, "connect")
      return socket
    }),
    (socket) => Effect.sync(() => socket.destroy())
  ).pipe(
    Effect.map(
      (socket) => (word: string) =>
        Effect.promise(async () => {
          socket.write(word)
          const [heard] = await once(socket, "data")
          return String(heard)
        })
    )
  )

const echo = startService((socket) => socket.pipe(socket))

describe("clients with a relay", () => {
  it.live("are carried by it at once where no direct path opens, encrypted end to end", () =>
    Effect.gen(function* () {
      const { client, blockDirect } = yield* world
      yield* blockDirect
      const destination = yield* client({ destinations: { web: yield* startService(named("a")) } })
      const source = yield* client({ sources: ["web"] })
      const port = yield* source.port("web")
      yield* Effect.all([source.says("relay.online"), destination.says("relay.online")])
      yield* source.says("peer.met")
      assert.strictEqual(yield* visit(port, "hello"), "a:hello")
      const { fields } = yield* source.says("path.selected")
      assert.deepInclude(fields, { direction: "relay", reason: "only", encryption: "tls" })
    })
  )

  it.live("get their first byte with the route any as soon as with the route relay", () =>
    Effect.gen(function* () {
      const { client, blockDirect } = yield* world
      yield* blockDirect
      yield* client({ destinations: { web: yield* startService(named("a")) } })
      const firstByte = Effect.fnUntraced(function* (route: Route) {
        const began = performance.now()
        const source = yield* client({ sources: ["web"], route })
        assert.strictEqual(yield* visit(yield* source.port("web"), "hello"), "a:hello")
        const millis = performance.now() - began
        yield* source.stop
        return millis
      })
      yield* firstByte("relay")
      const any: Array<number> = []
      const relay: Array<number> = []
      for (let round = 0; round < 5; round++) {
        any.push(yield* firstByte("any"))
        relay.push(yield* firstByte("relay"))
      }
      const median = (millis: ReadonlyArray<number>) => millis.toSorted((a, b) => a - b)[2]!
      console.log(`first byte: ${median(any).toFixed(0)} ms (any), ${median(relay).toFixed(0)} ms (relay)`)
      // Dialing in vain takes a second here: to wait for that would be ten times as long.
      assert.isBelow(median(any), 1.5 * median(relay) + 50)
    })
  )

  it.live("go over to the direct path when it opens, and back when it dies; what is under way stays where it is", () =>
    Effect.gen(function* () {
      const { client, blockDirect, unblockDirect } = yield* world
      yield* blockDirect
      yield* client({ destinations: { web: yield* echo } })
      const source = yield* client({ sources: ["web"] })
      const port = yield* source.port("web")
      const first = yield* talk(port)
      assert.strictEqual(yield* first("one"), "one")
      yield* unblockDirect
      yield* source.says("path.open")
      const second = Effect.gen(function* () {
        assert.strictEqual(yield* (yield* talk(port))("two"), "two")
        return source.events.find(({ fields }) => fields.reason === "direct")
      })
      const direct = yield* second.pipe(
        Effect.repeat({ until: (event) => event !== undefined, schedule: Schedule.spaced("20 millis") }),
        Effect.timeout("5 seconds")
      )
      assert.include(["incoming", "outgoing"], direct?.fields.direction)
      assert.strictEqual(yield* first("still there"), "still there")
      yield* blockDirect
      const third = yield* talk(port)
      assert.strictEqual(yield* third("three"), "three")
      assert.strictEqual(yield* first("and still"), "and still")
    })
  )

  it.live("are not carried by it when one of the two allows direct paths only", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      yield* client({ destinations: { web: yield* echo }, route: "direct" })
      const source = yield* client({ sources: ["web"], route: "relay", dialTimeout: Duration.millis(300) })
      const port = yield* source.port("web")
      yield* Effect.flip(visit(port, "hello"))
      const { detail } = yield* source.says("connection.failed")
      assert.match(String(detail), /no path to any of the 1 peers|nobody offers web/)
    })
  )

  it.live("say which setting to change when they share no encryption", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      yield* client({ destinations: { web: yield* echo }, route: "relay" })
      const source = yield* client({
        sources: ["web"],
        route: "relay",
        relayEncryptions: ["none"],
        dialTimeout: Duration.seconds(2)
      })
      const port = yield* source.port("web")
      yield* Effect.flip(visit(port, "hello"))
      const { detail } = yield* source.says("connection.failed")
      assert.match(String(detail), /the source allows none, the destination tls, dhxcp; set relay-encryptions/)
    })
  )

  it.live("reach the destination that is meant when the relay knows several", () =>
    Effect.gen(function* () {
      const { client } = yield* world
      const service = yield* startService(named("a"))
      const first = yield* client({ destinations: { web: service }, route: "relay" })
      const source = yield* client({ sources: ["web"], route: "relay" })
      const port = yield* source.port("web")
      assert.strictEqual(yield* visit(port, "1"), "a:1")
      yield* client({ destinations: { web: yield* startService(named("b")) }, route: "relay" })
      // The path that was used last is used again, and leads to the same one.
      for (const word of ["2", "3", "4"]) assert.strictEqual(yield* visit(port, word), `a:${word}`)
      yield* first.stop
      const moved = visit(port, "5").pipe(
        Effect.filterOrFail((reply) => reply === "b:5"),
        Effect.retry(Schedule.spaced("50 millis")),
        Effect.timeout("10 seconds")
      )
      assert.strictEqual(yield* moved, "b:5")
    })
  )
})
