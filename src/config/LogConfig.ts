/** What is logged and how: the root keys `log-level` and `log-format`. */
import { Result, Schema } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { fold, originOf } from "./fold.ts"
import { oneOf } from "./oneOf.ts"
import { together } from "./together.ts"

/** From everything to only what failed. */
export const LogVerbosity = Schema.Literals(["fine", "debug", "info", "warn", "error"])
export const LogFormat = Schema.Literals(["text", "json"])

export interface LogConfig {
  readonly level: typeof LogVerbosity.Type
  readonly format: typeof LogFormat.Type
}

/** The log settings after folding the sources. */
export const logConfig = (sources: ReadonlyArray<ConfigSource>) => {
  const tables = fold(sources)
  const pick = <W extends string>(key: "log-level" | "log-format", words: ReadonlyArray<W>, otherwise: W) =>
    Result.mapError(
      oneOf(`a ${key}`, words)(tables[key] || otherwise),
      (detail) => new ValueInvalid({ origin: originOf(sources, [key]), key, detail })
    )
  return together({
    level: pick("log-level", LogVerbosity.literals, "info"),
    format: pick("log-format", LogFormat.literals, "text")
  })
}
