/** A control server whose rules change while clients are there. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Effect, Exit, Logger, Redacted, References, SubscriptionRef } from "effect"
import { TestClock } from "effect/testing"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { type TokenRule, unrestricted } from "../../src/domain/TokenRule.ts"
import * as Messages from "../../src/protocol/ClientControl.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { receive, send } from "../../src/protocol/MessageStream.ts"
import { eventually, hello, OPTIONS, told, WEB, world } from "./World.ts"

const token = (text: string, rule: Partial<TokenRule> = {}): TokenRule => ({
  ...unrestricted(Redacted.make(text)),
  ...rule
})
const only = (...names: ReadonlyArray<string>) => ({
  names: { expression: "", matches: (name: string) => names.includes(name) }
})
const other = "other" as EndpointName

/** Keeps what is logged, each line with its fields. */
const recorder = () => {
  const lines: Array<string> = []
  const logger = Logger.make<unknown, void>(({ fiber, message }) => {
    lines.push(`${message} ${JSON.stringify(fiber.getRef(References.CurrentLogAnnotations))}`)
  })
  return { lines, logger }
}

const codeIn = (exit: Exit.Exit<unknown, unknown>) =>
  Exit.isFailure(exit) ? /code \d+/.exec(String(Cause.squash(exit.cause)))?.[0] : "no failure"

describe("a control server whose rules change", () => {
  it.live("tells a client whose token is gone, takes back what it announced at once, and leaves the others alone", () =>
    Effect.gen(function* () {
      const { access, client } = yield* world()
      yield* access.replace([token("good"), token("lent")])
      const source = yield* (yield* client()).announce("source")
      const leaver = yield* client("lent")
      yield* leaver.announce("destination", WEB, 2)
      yield* told(source, [2])
      yield* access.replace([token("good")])
      const error = yield* Effect.flip(leaver.directory.failure)
      assert.strictEqual(error.reason._tag, "TokenRejected")
      yield* told(source, [])
      yield* (yield* client()).announce("destination", WEB, 3)
      yield* told(source, [3])
    }).pipe(Effect.scoped)
  )

  it.live("closes with code 100, and takes the client back with the same token once that is known again", () =>
    Effect.gen(function* () {
      const { access, stranger } = yield* world()
      const first = yield* stranger
      yield* hello(first)
      yield* access.replace([])
      assert.deepInclude(yield* first.closed, { _tag: "Closed", by: "peer", code: 100 })
      assert.deepInclude(yield* hello(yield* stranger), { _tag: "Refused", code: 100 })
      yield* access.replace([token("good")])
      assert.deepInclude(yield* hello(yield* stranger), { _tag: "Accepted" })
    }).pipe(Effect.scoped)
  )

  it.live("lists nothing more of a lost client whose token is gone", () =>
    Effect.gen(function* () {
      const { access, client, stranger, peerAt } = yield* world()
      yield* access.replace([token("good"), token("lent")])
      const source = yield* (yield* client()).announce("source")
      const connection = yield* stranger
      yield* hello(connection, "lent")
      const stream = yield* connection.open
      const announce = { _tag: "Announce", endpoint: WEB, role: "destination", peer: peerAt(2) } as const
      yield* send(stream, Messages.request, announce, OPTIONS)
      yield* told(source, [2])
      yield* connection.close(ErrorCode.DirectKeepaliveClosed, "lost")
      yield* access.replace([token("good")])
      yield* told(source, [])
    }).pipe(Effect.scoped)
  )

  it.live("ends what a token is not for any more, with the code for the reason, and nothing else of the client", () =>
    Effect.gen(function* () {
      const { access, client } = yield* world()
      yield* access.replace([token("good"), token("witness")])
      const one = yield* client()
      const [kept, named] = [yield* one.announce("source"), yield* one.announce("source", other)]
      const [there, elsewhere] = [
        yield* (yield* client("witness")).announce("destination", WEB, 2),
        yield* (yield* client("witness")).announce("destination", other, 3)
      ]
      yield* told(kept, [2])
      yield* told(named, [3])
      yield* access.replace([token("good", only(WEB)), token("witness")])
      assert.strictEqual(codeIn(yield* Effect.exit(named.refused)), "code 101")
      yield* told(elsewhere, [])
      yield* told(there, [1])
      yield* access.replace([token("good", { role: "destination" }), token("witness")])
      assert.strictEqual(codeIn(yield* Effect.exit(kept.refused)), "code 102")
      yield* told(there, [])
      const back = yield* one.announce("destination", WEB, 4)
      yield* eventually(SubscriptionRef.get(back.peers), (peers) => peers !== undefined)
    }).pipe(Effect.scoped)
  )

  it.live("ends a request for relays that the token is not for any more", () =>
    Effect.gen(function* () {
      const { access, stranger, peerAt } = yield* world()
      const connection = yield* stranger
      yield* hello(connection)
      const stream = yield* connection.open
      const { clientCertificate } = peerAt(1)
      const request = { _tag: "Relay", endpoint: WEB, role: "source", clientCertificate } as const
      yield* send(stream, Messages.request, request, OPTIONS)
      assert.deepEqual(yield* receive(stream, Messages.response, OPTIONS), { _tag: "Relays", relays: [] })
      yield* access.replace([token("good", only("other"))])
      assert.deepInclude(yield* receive(stream, Messages.response, OPTIONS), { _tag: "Refused", code: 101 })
      assert.isUndefined(connection.ended())
    }).pipe(Effect.scoped)
  )

  it.effect("closes a client whose token expires", () =>
    Effect.gen(function* () {
      // Certificates are made for the time of the system.
      yield* TestClock.setTime(Date.now())
      const { access, stranger } = yield* world()
      const expiresAt = (yield* Clock.currentTimeMillis) + 3_600_000
      yield* access.replace([token("good", { name: "laptop", expiresAt })])
      const connection = yield* stranger
      assert.deepInclude(yield* hello(connection), { _tag: "Accepted" })
      yield* TestClock.adjust("59 minutes")
      assert.isUndefined(connection.ended())
      yield* TestClock.adjust("1 minute")
      const closed = yield* connection.closed
      assert.deepInclude(closed, { _tag: "Closed", by: "peer", code: 100 })
      assert.match(JSON.stringify(closed), /the token laptop expired/)
    }).pipe(Effect.scoped)
  )

  it.live("calls tokens by their names in its log, and never shows them", () =>
    Effect.gen(function* () {
      const { lines, logger } = recorder()
      const { access, stranger, client } = yield* world({ logger })
      yield* access.replace([
        token("good", { name: "laptop", ...only(WEB) }),
        token("late", { name: "phone", expiresAt: 1 })
      ])
      const refused = yield* (yield* client()).announce("source", other)
      yield* Effect.exit(refused.refused)
      yield* hello(yield* stranger, "late")
      yield* access.replace([])
      yield* hello(yield* stranger, "unknown")
      yield* eventually(
        Effect.sync(() => lines),
        (all) => all.some((line) => line.startsWith("client.expelled"))
      )
      const logged = (event: string) => lines.find((line) => line.startsWith(event)) ?? ""
      assert.include(logged("client.online"), '"token":"laptop"')
      assert.include(logged("endpoint.refused"), '"token":"laptop"')
      assert.include(logged("client.refused"), '"token":"phone"')
      for (const secret of ["good", "late", '"unknown"']) assert.notInclude(lines.join("\n"), secret)
    }).pipe(Effect.scoped)
  )

  it.effect("warns of tokens that have expired before anybody shows them", () =>
    Effect.gen(function* () {
      const { lines, logger } = recorder()
      const { access } = yield* world()
      const rules = [token("good"), token("late", { expiresAt: 0 }), token("later", { name: "phone", expiresAt: 0 })]
      yield* access.replace(rules).pipe(Effect.provide(Logger.layer([logger])))
      assert.deepEqual(
        lines.map((line) => /^token\.expired .*"token":"([^"]*)"/.exec(line)?.[1]),
        ["number 2", "phone"]
      )
    }).pipe(Effect.scoped)
  )
})
