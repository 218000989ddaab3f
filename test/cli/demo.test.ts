import { existsSync } from "node:fs"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect } from "effect"
import { playDemo } from "../../src/cli/demo/playDemo.ts"
import { startRole } from "../../src/cli/demo/Role.ts"
import { temporaryFolder } from "../../src/cli/demo/Stage.ts"

const BIN = join(import.meta.dirname, "..", "..", "src", "bin.ts")
const command: [string, string] = [process.execPath, BIN]

/** Runs an effect with what it prints kept in a list. */
const printed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<string> = []
    const log = (...args: ReadonlyArray<unknown>) => void lines.push(args.join(" "))
    yield* effect.pipe(Effect.provideService(Console.Console, { ...globalThis.console, log }))
    return lines.join("\n")
  })

describe("the demo", () => {
  it.live(
    "downloads through a tunnel of three processes, and tells who met whom",
    () =>
      Effect.gen(function* () {
        const story = yield* printed(playDemo({ once: true, relay: false, mebibytes: 4, command }))
        assert.match(story, /met +the source met the destination at \S+:\d+, directly over (QUIC|TCP), round trip/)
        assert.match(story, /download +4 MiB in \d+\.\d\d s, \d+ Mbit\/s, SHA-256 equal/)
      }).pipe(Effect.provide(NodeServices.layer)),
    60_000
  )

  it.live(
    "downloads through the relay when there is no direct path, and tells that it can read nothing",
    () =>
      Effect.gen(function* () {
        const story = yield* printed(playDemo({ once: true, relay: true, mebibytes: 4, command }))
        assert.match(story, /met +the relay at \S+:\d+ carries everything and can read nothing: end to end it is tls/)
        assert.match(story, /download +4 MiB in \d+\.\d\d s, \d+ Mbit\/s, SHA-256 equal/)
      }).pipe(Effect.provide(NodeServices.layer)),
    60_000
  )

  it.live(
    "a process that ends too early fails the demo with what it wrote",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const role = yield* startRole("server", [process.execPath, BIN, "server"], join(folder, "none.toml"))
        const error = yield* Effect.flip(role.ended)
        assert.strictEqual(error.code, 1)
        assert.include(error.message, "the server ended with code 1:\nconnet: there is no file")
      }).pipe(Effect.provide(NodeServices.layer)),
    30_000
  )

  it.live("the folder is gone afterwards", () =>
    Effect.gen(function* () {
      const folder = yield* Effect.scoped(
        Effect.tap(temporaryFolder, (path) => Effect.sync(() => assert.isTrue(existsSync(path))))
      )
      assert.isFalse(existsSync(folder))
    })
  )
})
