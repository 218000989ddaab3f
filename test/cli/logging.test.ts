import { assert, describe, it } from "@effect/vitest"
import { Data, Effect } from "effect"
import { layerLogging } from "../../src/cli/logging.ts"
import type { LogConfig } from "../../src/config/LogConfig.ts"

/** What an effect writes to stderr with these log settings. */
const written = (config: LogConfig, effect: Effect.Effect<void>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const write = process.stderr.write
    process.stderr.write = (line) => {
      lines.push(String(line))
      return true
    }
    yield* effect.pipe(
      Effect.provide(layerLogging(config)),
      Effect.ensuring(
        Effect.sync(() => {
          process.stderr.write = write
        })
      )
    )
    return lines
  })

class NoLuck extends Data.TaggedError("NoLuck") {
  override readonly message = "no luck"
}

describe("logging", () => {
  it.effect("a text line has its time, level, event and fields", () =>
    Effect.gen(function* () {
      const event = Effect.logInfo("peer.met").pipe(
        Effect.annotateLogs({ endpoint: "web", peer: "my laptop", rttMillis: 1.5 })
      )
      assert.deepStrictEqual(yield* written({ level: "info", format: "text" }, event), [
        '1970-01-01T00:00:00.000Z info  peer.met endpoint=web peer="my laptop" rttMillis=1.5\n'
      ])
    })
  )

  it.effect("a JSON line has its fields beside the event", () =>
    Effect.gen(function* () {
      const event = Effect.logWarning("path.lost").pipe(Effect.annotateLogs({ endpoint: "web", bytes: 3n }))
      const [line] = yield* written({ level: "info", format: "json" }, event)
      assert.deepStrictEqual(JSON.parse(line!), {
        time: "1970-01-01T00:00:00.000Z",
        level: "warn",
        message: "path.lost",
        endpoint: "web",
        bytes: "3"
      })
    })
  )

  it.effect("text from outside cannot forge a line", () =>
    Effect.gen(function* () {
      const event = Effect.logInfo("client.online\nforged").pipe(Effect.annotateLogs({ metadata: "a\nb error forged" }))
      const lines = yield* written({ level: "info", format: "text" }, event)
      assert.lengthOf(lines, 1)
      assert.match(lines[0]!, /client\.online\?forged metadata="a\\nb error forged"\n$/)
    })
  )

  it.effect("each level shows itself and what is worse", () =>
    Effect.gen(function* () {
      const all = Effect.all([
        Effect.logTrace("t"),
        Effect.logDebug("d"),
        Effect.logInfo("i"),
        Effect.logWarning("w"),
        Effect.logError("e")
      ]).pipe(Effect.asVoid)
      for (const [index, level] of (["fine", "debug", "info", "warn", "error"] as const).entries()) {
        const lines = yield* written({ level, format: "text" }, all)
        assert.deepStrictEqual(
          lines.map((line) => line.trimEnd().slice(-1)),
          ["t", "d", "i", "w", "e"].slice(index)
        )
      }
    })
  )

  it.effect("stacks are written only when debug is logged", () =>
    Effect.gen(function* () {
      const event = Effect.fail(new NoLuck()).pipe(
        Effect.tapCause((cause) => Effect.logError("dial failed", cause)),
        Effect.ignore
      )
      const [quiet] = yield* written({ level: "info", format: "text" }, event)
      assert.match(quiet!, /error dial failed cause="no luck"\n$/)
      const [loud] = yield* written({ level: "debug", format: "text" }, event)
      assert.match(loud!, /no luck\n\s+at /)
    })
  )
})
