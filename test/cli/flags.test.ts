import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import {
  ConfigFlag,
  clientFlags,
  clientSource,
  LogFormatFlag,
  LogLevelFlag,
  serverFlags,
  serverSource
} from "../../src/cli/flags.ts"
import { logSource } from "../../src/cli/launch.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { golden, runCase } from "../config/golden.ts"

/** The sources that a command line stands for, or the error of the parser. */
const parse = Effect.fnUntraced(function* (command: "client" | "server", args: ReadonlyArray<string>) {
  const sources: Array<ConfigSource> = []
  const add = Effect.fnUntraced(function* (source: ConfigSource) {
    sources.push(yield* logSource, source)
  })
  const root = Command.make("connet", clientFlags, (flags) => add(clientSource(flags))).pipe(
    Command.withSubcommands([Command.make("server", serverFlags, (flags) => add(serverSource(flags)))]),
    Command.withGlobalFlags([ConfigFlag, LogLevelFlag, LogFormatFlag])
  )
  yield* Command.runWith(root, { version: "0" })(command === "server" ? ["server", ...args] : args).pipe(
    Effect.provide([
      NodeServices.layer,
      CliConfig.layer({ builtIns: [GlobalFlag.Help] }),
      CliOutput.layerPresenter({ present: () => Effect.void })
    ])
  )
  return sources
})

describe("flags", () => {
  for (const case_ of golden.cases.filter(({ flags, command }) => flags !== undefined && command !== "check")) {
    it.effect(`${case_.id}: ${case_.note}, as upstream`, () =>
      Effect.gen(function* () {
        const sources = yield* Effect.result(parse(case_.command as "client" | "server", case_.flags!))
        if (case_.result.phase === "flags" || case_.result.phase === "log") {
          assert.isTrue(Result.isFailure(sources), "the parser must refuse it")
          return
        }
        if (Result.isFailure(sources)) return assert.fail(String(sources.failure))
        const result = yield* Effect.result(runCase(case_, sources.success))
        if (case_.result.ok) {
          if (Result.isFailure(result)) return assert.fail(result.failure.message)
          const { handshake_idle_timeout_ns: _, ...effective } = case_.result.effective!
          assert.deepInclude(result.success.effective!, effective)
        } else {
          if (Result.isSuccess(result)) return assert.fail("accepted")
          const keys = result.failure.reasons.map((reason) => ("key" in reason ? reason.key : ""))
          assert.include(keys, case_.result.key!)
        }
      })
    )
  }

  it.effect("every flag of the client arrives at its key", () =>
    Effect.gen(function* () {
      const args = Object.keys(clientFlags).flatMap((name) => [`--${name}`, name.endsWith("timeout") ? "7s" : name])
      const [, source] = yield* parse("client", args)
      assert.deepStrictEqual(source!.tables, {
        client: {
          token: "token",
          "token-file": "token-file",
          metadata: "metadata",
          "server-addr": "server-addr",
          "server-cas-file": "server-cas-file",
          "server-name": "server-name",
          "direct-addr": "direct-addr",
          "handshake-idle-timeout": 7_000_000_000n,
          destinations: { "dst-name": { url: "dst-url", route: "dst-route" } },
          sources: { "src-name": { url: "src-url", route: "src-route" } }
        }
      })
    })
  )

  it.effect("log flags become root keys", () =>
    Effect.gen(function* () {
      const [log] = yield* parse("client", ["--log-level", "fine", "--log-format", "json"])
      assert.deepStrictEqual(log!.tables, { "log-level": "fine", "log-format": "json" })
    })
  )
})
