/** What is logged and how: the root keys `log-level` and `log-format`. */
import { Effect, Schema } from "effect"
import { ConfigError, ValueInvalid } from "./ConfigError.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { fold, originOf } from "./fold.ts"

/** From everything to only what failed. */
export const LogVerbosity = Schema.Literals(["fine", "debug", "info", "warn", "error"])
export const LogFormat = Schema.Literals(["text", "json"])

export interface LogConfig {
  readonly level: typeof LogVerbosity.Type
  readonly format: typeof LogFormat.Type
}

/** The log settings after folding the sources. */
export const logConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const tables = fold(sources)
  const pick = <A extends string>(
    key: "log-level" | "log-format",
    known: Schema.Literals<ReadonlyArray<A>>,
    otherwise: A
  ) => {
    const value = tables[key] || otherwise
    if ((known.literals as ReadonlyArray<string>).includes(value)) return Effect.succeed(value as A)
    const detail = `"${value}" is not one of ${known.literals.join(", ")}`
    return Effect.fail(
      new ConfigError({ reasons: [new ValueInvalid({ origin: originOf(sources, [key]), key, detail })] })
    )
  }
  const level = yield* pick("log-level", LogVerbosity, "info")
  const format = yield* pick("log-format", LogFormat, "text")
  return { level, format } satisfies LogConfig
})
