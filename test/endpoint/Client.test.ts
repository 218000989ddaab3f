import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Schedule } from "effect"
import * as Memory from "../../src/transport/memory/Memory.ts"
import * as Quic from "../../src/transport/quic/Quic.ts"
import type { Transport } from "../../src/transport/Transport.ts"
import type { TransportError } from "../../src/transport/TransportError.ts"
import { closedPort, giveUp, makeWorld, named, startService, TookTooLong, visit } from "./World.ts"

const transports: ReadonlyArray<readonly [string, () => Layer.Layer<Transport, TransportError>]> = [
  ["Memory", () => Layer.fresh(Memory.layer())],
  ["Quic", () => Layer.fresh(Quic.layer())]
]

const untilItWorks = Effect.retry(Schedule.spaced("50 millis"))

describe.each(transports)("clients over %s", (_, transport) => {
  it.live("carry a connection from a source to a destination, and the reply that is sent after its end", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const destination = yield* world.client({ destinations: { web: yield* startService(named("a")) } })
      const source = yield* world.client({ sources: ["web"] })
      assert.strictEqual(yield* visit(yield* source.port("web"), "hello"), "a:hello")
      const { fields } = yield* source.says("path.selected")
      assert.includeMembers(Object.keys(fields), ["endpoint", "peer", "path", "address", "rttMillis", "reason"])
      for (const client of [source, destination]) {
        const opened = yield* client.says("path.open")
        assert.includeMembers(Object.keys(opened.fields), [
          "endpoint",
          "role",
          "peer",
          "direction",
          "address",
          "rttMillis"
        ])
      }
    })
  )

  it.live("a source and a destination of one name in one client find each other", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const client = yield* world.client({
        destinations: { web: yield* startService(named("a")) },
        sources: ["web"]
      })
      assert.strictEqual(yield* visit(yield* client.port("web"), "hello"), "a:hello")
    })
  )

  it.live("a destination that is started anew is used at once", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const service = yield* startService(named("a"))
      const first = yield* world.client({ destinations: { web: service } })
      const source = yield* world.client({ sources: ["web"] })
      const port = yield* source.port("web")
      assert.strictEqual(yield* visit(port, "1"), "a:1")
      yield* first.stop
      yield* world.client({ destinations: { web: service } })
      assert.strictEqual(yield* untilItWorks(visit(port, "2")), "a:2")
    })
  )

  it.live("two destinations of one name: when one goes, the other carries", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const clients = {
        a: yield* world.client({ destinations: { web: yield* startService(named("a")) } }),
        b: yield* world.client({ destinations: { web: yield* startService(named("b")) } })
      }
      const source = yield* world.client({ sources: ["web"] })
      const port = yield* source.port("web")
      const first = (yield* visit(port, "")).slice(0, 1) as "a" | "b"
      yield* clients[first].stop
      const second = first === "a" ? "b:" : "a:"
      assert.strictEqual(yield* untilItWorks(visit(port, "")), second)
    })
  )

  it.live(
    "the death of the control server does not touch what is connected, and peers stay known after its return",
    () =>
      Effect.gen(function* () {
        const world = yield* makeWorld(transport())
        const destination = yield* world.client({ destinations: { web: yield* startService(named("a")) } })
        const source = yield* world.client({ sources: ["web"] })
        const port = yield* source.port("web")
        assert.strictEqual(yield* visit(port, "1"), "a:1")
        yield* world.stopServer
        yield* source.says("server.lost")
        assert.strictEqual(yield* visit(port, "2"), "a:2")
        yield* world.startServer
        const cameBack = ({ events }: typeof source) =>
          Effect.sync(() =>
            events.filter(({ message }) => message === "endpoint.announced" || message === "server.online")
          )
        yield* Effect.forEach([source, destination], (client) =>
          cameBack(client).pipe(
            Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (events) => events.length >= 2 }),
            Effect.timeout("10 seconds")
          )
        )
        assert.strictEqual(yield* visit(port, "3"), "a:3")
        assert.isEmpty(source.events.filter(({ message }) => message === "path.lost"))
        assert.lengthOf(
          source.events.filter(({ message }) => message === "peer.met"),
          1
        )
      })
  )

  it.live("a service that is not there is told to the source, and the user's connection is reset", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      yield* world.client({ destinations: { web: yield* closedPort } })
      const source = yield* world.client({ sources: ["web"] })
      const failed = yield* Effect.flip(visit(yield* source.port("web"), "hello"))
      assert.strictEqual(failed.code, "ECONNRESET")
      const { detail } = yield* source.says("connection.failed")
      assert.match(String(detail), /ECONNREFUSED, nobody listens there.* \(code 501\)/)
    })
  )

  it.live("without a destination a user is refused after the dial timeout", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const source = yield* world.client({ sources: ["web"], dialTimeout: Duration.millis(300) })
      const failed = yield* Effect.flip(visit(yield* source.port("web"), "hello"))
      assert.strictEqual(failed.code, "ECONNRESET")
      const { detail } = yield* source.says("connection.failed")
      assert.match(String(detail), /nobody offers web/)
    })
  )

  it.live("users who give up leave nothing behind, on no side", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const service = yield* startService((socket) => socket.on("data", () => {}))
      yield* world.client({ destinations: { web: service } })
      const source = yield* world.client({ sources: ["web"] })
      const port = yield* source.port("web")
      yield* source.says("path.open")
      const before = world.streams()
      // Some before there is a tunnel, some within it.
      const quitters = Array.from({ length: 200 }, (_, at) => giveUp(port, at % 20))
      yield* Effect.all(quitters, { concurrency: 50 })
      yield* Effect.sync(world.streams).pipe(
        Effect.repeat({ schedule: Schedule.spaced("20 millis"), until: (now) => now <= before }),
        Effect.timeoutOrElse({
          duration: "10 seconds",
          orElse: () => new TookTooLong({ detail: `${world.streams()} streams are left, before there were ${before}` })
        })
      )
    })
  )

  it.live("a source whose port is taken says so, and the others work", () =>
    Effect.gen(function* () {
      const world = yield* makeWorld(transport())
      const service = yield* startService(named("a"))
      const client = yield* world.client({ destinations: { web: service }, sources: ["web"], taken: service })
      const failed = yield* client.says("endpoint.failed", { endpoint: "taken" })
      assert.match(String(failed.detail), /address in use/)
      assert.strictEqual(yield* visit(yield* client.port("web"), "hello"), "a:hello")
    })
  )
})
