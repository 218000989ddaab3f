import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Option, Queue } from "effect"
import { TestClock } from "effect/testing"
import { follow, Settings } from "../../src/cli/follow.ts"
import { ConfigError, ValueMissing } from "../../src/config/ConfigError.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { readFiles } from "../../src/config/loadFiles.ts"
import { folder } from "../config/golden.ts"
import { startProcess } from "./Process.ts"

const badSettings = new ConfigError({ reasons: [new ValueMissing({ key: "server.tokens", detail: "there are none" })] })

/** A server's settings in a folder, followed: what was taken over, and the events that were logged. */
const followed = Effect.gen(function* () {
  const path = yield* folder({ tokens: "a\n" })
  const file = join(path, "server.toml")
  const write = (text: string) => writeFileSync(file, `[server]\ntokens-file = "${path}/tokens"\n${text}`)
  write("")
  const applied = yield* Queue.unbounded<ReadonlyArray<ConfigSource>>()
  const events = yield* Queue.unbounded<string>()
  const log = Logger.make<unknown, void>(({ message }) => void Queue.offerUnsafe(events, String(message)))
  let refuses = false
  const { sources } = yield* readFiles([file])
  yield* follow("server", sources, (newer) =>
    refuses ? Effect.fail(badSettings) : Effect.asVoid(Queue.offer(applied, newer))
  ).pipe(
    Effect.provideService(Settings, readFiles([file])),
    Effect.provide(Logger.layer([log])),
    Effect.forkScoped({ startImmediately: true })
  )
  /** The next element; files are looked at in real time, between looks time passes as the test wants. */
  const next = <A>(queue: Queue.Dequeue<A>) =>
    Effect.gen(function* () {
      while (true) {
        const found = yield* Queue.poll(queue)
        if (Option.isSome(found)) return found.value
        yield* TestClock.adjust("2 seconds")
        yield* Effect.promise(() => setImmediate())
      }
    })
  const hangUp = Effect.sync(() => void process.emit("SIGHUP"))
  // From now on the files are known.
  yield* hangUp
  yield* next(applied)
  yield* next(events)
  return {
    write,
    tokens: (text: string) => writeFileSync(join(path, "tokens"), text),
    refuse: () => {
      refuses = true
    },
    accept: () => {
      refuses = false
    },
    taken: Effect.map(next(applied), (sources) => sources[0]?.tables.server),
    event: next(events),
    hangUp
  }
})

describe("settings of a running role", () => {
  it.effect("are taken over when a tokens file was written again", () =>
    Effect.gen(function* () {
      const { tokens, taken, event } = yield* followed
      tokens("a\nb\n")
      yield* taken
      assert.strictEqual(yield* event, "settings.taken")
    })
  )

  it.effect("are read again after SIGHUP, and only then", () =>
    Effect.gen(function* () {
      const { write, tokens, taken, hangUp } = yield* followed
      write("endpoint-expiry-disable = true\n")
      tokens("b\nc\n")
      assert.notProperty(yield* taken, "endpoint-expiry-disable")
      yield* hangUp
      assert.propertyVal(yield* taken, "endpoint-expiry-disable", true)
    })
  )

  it.effect("stay as they are when the new ones are wrong, which is told", () =>
    Effect.gen(function* () {
      const { write, refuse, event, hangUp, taken } = yield* followed
      write("nonsense = 1\n")
      yield* hangUp
      assert.strictEqual(yield* event, "settings.refused")
      write("")
      yield* hangUp
      yield* taken
      assert.strictEqual(yield* event, "settings.taken")
      refuse()
      yield* hangUp
      assert.strictEqual(yield* event, "settings.refused")
    })
  )

  it.effect("that were refused are not taken with the next change of a tokens file", () =>
    Effect.gen(function* () {
      const { write, tokens, refuse, accept, event, hangUp, taken } = yield* followed
      write("endpoint-expiry-disable = true\n")
      refuse()
      yield* hangUp
      assert.strictEqual(yield* event, "settings.refused")
      accept()
      tokens("b\nc\n")
      assert.notProperty(yield* taken, "endpoint-expiry-disable")
      assert.strictEqual(yield* event, "settings.taken")
    })
  )

  it.effect("no longer concern whoever has ended", () =>
    Effect.gen(function* () {
      const before = process.listenerCount("SIGHUP")
      yield* Effect.scoped(followed)
      assert.strictEqual(process.listenerCount("SIGHUP"), before)
    })
  )

  it.live(
    "of a server are followed by its clients: whose token is taken away is turned out",
    () =>
      Effect.gen(function* () {
        const path = yield* folder({ tokens: "secret name=laptop\n" })
        const args = ["server", "--addr", "127.0.0.1:0", "--relay-addr", "127.0.0.1:0", "--tokens-file", "tokens"]
        const server = yield* startProcess(args, path)
        const link = (yield* server.prints).replace("<token>", "secret")
        const client = yield* startProcess(["--server", link, "--expose", "web=1"], path)
        yield* server.says("endpoint.announced")
        writeFileSync(join(path, "tokens"), "other name=laptop\n")
        assert.strictEqual(yield* client.ended, 1, client.log())
        assert.match(client.log(), /^connet: .* refused the token: the token is not accepted/m)
        yield* server.says("client.expelled")
      }),
    80_000
  )
})
