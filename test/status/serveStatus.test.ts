import { once } from "node:events"
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Logger, Schedule, Scope } from "effect"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import { type StatusLimits, serveStatus } from "../../src/status/serveStatus.ts"
import { ask } from "./ask.ts"

const HERE = { host: "127.0.0.1", port: 0 }
const silent = Effect.provide(Logger.layer([]))
const serve = (status: Effect.Effect<unknown>, limits?: StatusLimits, address = HERE) =>
  silent(serveStatus(address, status, "nas.example", limits))
const LIMITS: StatusLimits = { requestMillis: 10_000, idleMillis: 120_000, connections: 64 }

/** A connection that nobody reads from; `end` waits for the end of it. */
const dial = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = connect({ port, host: HERE.host }).on("error", () => {})
      const closed = once(socket, "close")
      await once(socket, "connect")
      return { socket, end: Effect.promise(() => closed) }
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

const askUntilThereIsRoom = (address: SocketAddress) =>
  ask(address).pipe(
    Effect.catchDefect(Effect.fail),
    Effect.retry({ schedule: Schedule.spaced("10 millis"), times: 500 })
  )

describe("a status over HTTP", () => {
  it.live("is the answer to GET on any path, read anew each time", () =>
    Effect.gen(function* () {
      let asked = 0
      const address = yield* serve(Effect.sync(() => ({ asked: ++asked })))
      const first = yield* ask(address)
      assert.deepInclude(first, { code: 200, text: '{"asked":1}\n' })
      assert.deepInclude(first.headers, {
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store"
      })
      assert.deepInclude(yield* ask(address, "GET", "/some/where?x=1"), { code: 200, text: '{"asked":2}\n' })
    })
  )

  it.live("has a HEAD, ignores bodies, and refuses other methods", () =>
    Effect.gen(function* () {
      const address = yield* serve(Effect.succeed({ a: 1 }))
      const head = yield* ask(address, "HEAD")
      assert.deepInclude(head, { code: 200, text: "" })
      assert.strictEqual(head.headers["content-length"], "8")
      assert.strictEqual((yield* ask(address, "GET", "/", "x".repeat(300_000))).code, 200)
      const refused = yield* ask(address, "POST", "/", "x")
      assert.strictEqual(refused.code, 405)
      assert.strictEqual(refused.headers.allow, "GET, HEAD")
    })
  )

  it.live(
    "is told to who asks by an address, by localhost, or by the configured name, as no page of somebody else can",
    () =>
      Effect.gen(function* () {
        const address = yield* serve(Effect.succeed({ a: 1 }))
        const by = (host: string) => Effect.map(ask(address, "GET", "/", "", { host }), ({ code }) => code)
        for (const host of [
          "127.0.0.1",
          "192.0.2.7:80",
          "[::1]:19180",
          "localhost",
          "LOCALHOST:1",
          "nas.example:19180"
        ]) {
          assert.strictEqual(yield* by(host), 200, host)
        }
        for (const host of ["rebound.example", "rebound.example:19180", "localhost.example"]) {
          assert.strictEqual(yield* by(host), 421, host)
        }
      })
  )

  it.live("that cannot be told is a 500 without a reason, and the next one may be good", () =>
    Effect.gen(function* () {
      let broken = true
      const address = yield* serve(Effect.suspend(() => (broken ? Effect.die(new Error("inner")) : Effect.succeed(1))))
      const failed = yield* ask(address)
      assert.strictEqual(failed.code, 500)
      assert.strictEqual(failed.headers["content-type"], "text/plain; charset=utf-8")
      assert.notInclude(failed.text, "inner")
      broken = false
      assert.strictEqual((yield* ask(address)).code, 200)
    })
  )

  it.live("goes to others while somebody does not read, and holds nobody up when it ends", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const large = "x".repeat(5_000_000)
      const address = yield* serve(Effect.succeed(large)).pipe(Effect.provideService(Scope.Scope, scope))
      const slow = yield* dial(address.port)
      slow.socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* Effect.promise(() => once(slow.socket, "readable"))
      const silent = yield* dial(address.port)
      assert.strictEqual((yield* ask(address)).text.length, large.length + 3)
      slow.socket.resume()
      silent.socket.resume()
      yield* Scope.close(scope, Exit.void)
      yield* Effect.all([slow.end, silent.end])
      const again = connect({ port: address.port, host: HERE.host })
      const [error] = yield* Effect.promise(() => once(again, "error"))
      assert.strictEqual(error.code, "ECONNREFUSED")
    })
  )

  it.live("is interrupted with its Scope while it is being found out", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const status = Deferred.succeed(begun, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
      )
      const address = yield* serve(status).pipe(Effect.provideService(Scope.Scope, scope))
      const { socket } = yield* dial(address.port)
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* Deferred.await(begun)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(interrupted)
    })
  )

  it.live("cuts who does not finish a request in time, and who stands still for too long", () =>
    Effect.gen(function* () {
      const large = Effect.succeed("x".repeat(20_000_000))
      const hasty = yield* serve(large, { ...LIMITS, requestMillis: 40 })
      const unfinished = yield* dial(hasty.port)
      unfinished.socket.resume().write("GET / HTTP/1.1\r\n")
      yield* unfinished.end
      const impatient = yield* serve(large, { ...LIMITS, idleMillis: 40, connections: 1 })
      const slow = yield* dial(impatient.port)
      slow.socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
      yield* Effect.promise(() => once(slow.socket, "readable"))
      assert.strictEqual((yield* askUntilThereIsRoom(impatient)).code, 200)
    })
  )

  it.live("closes connections above the limit at once, and takes another one when one has ended", () =>
    Effect.gen(function* () {
      const address = yield* serve(Effect.succeed(1), { ...LIMITS, connections: 2 })
      const [one] = [yield* dial(address.port), yield* dial(address.port)]
      const surplus = yield* dial(address.port)
      yield* surplus.end
      one.socket.destroy()
      assert.strictEqual((yield* askUntilThereIsRoom(address)).code, 200)
    })
  )

  it.live("on a port that is taken fails with the address", () =>
    Effect.gen(function* () {
      const address = yield* serve(Effect.succeed(1))
      const { message } = yield* Effect.flip(serve(Effect.succeed(2), LIMITS, address))
      assert.strictEqual(message, `cannot listen on 127.0.0.1:${address.port}: address in use`)
    })
  )
})
