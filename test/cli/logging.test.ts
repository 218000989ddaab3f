import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Data, Effect } from "effect"
import { layerLogging } from "../../src/cli/logging.ts"
import type { LogConfig } from "../../src/config/LogConfig.ts"
import { connet } from "./commandLine.ts"
import { deploy, homeIn } from "./roles.ts"

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
  it.live("log-level and log-format of a file are how a role writes its log", () =>
    Effect.gen(function* () {
      const { ports, path, write } = yield* deploy({ kind: "server" })
      const run = Effect.fnUntraced(function* (settings: string) {
        const client = `[client]\ntoken = "wrong"\nserver-addr = "localhost:${ports.server}"\nserver-cas-file = "${path}/ca.crt"`
        write(
          "client.toml",
          `${settings}\n${client}\ndirect-addr = "127.0.0.1:0"\nnat-pmp = "disabled"\nproxy = "none"`
        )
        const { stderr } = yield* connet("--config", join(path, "client.toml")).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, homeIn(path))
        )
        return stderr.split("\n").filter((line) => line !== "" && !line.startsWith("connet: "))
      })
      assert.deepEqual(yield* run('log-level = "error"'), [])
      assert.match((yield* run('log-level = "warn"')).join("\n"), /^\S+ warn {2}nothing to do: [^\n]*$/)
      assert.match((yield* run("")).join("\n"), / info {2}server\.connecting /)
      const messages = (yield* run('log-format = "json"')).map((line) => JSON.parse(line).message)
      assert.include(messages, "server.connecting")
    })
  )

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
