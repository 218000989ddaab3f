/**
 * Configuration files: TOML, strict. A file may hold the tables of every role; each command reads its own.
 */
import { readFile } from "node:fs/promises"
import { Effect, Result, Schema } from "effect"
import { parse, TomlError } from "smol-toml"
import { ConfigError, type ConfigReason, FileMissing, FileUnreadable, SyntaxInvalid } from "./ConfigError.ts"
import { type ConfigSource, ConfigTables } from "./ConfigTables.ts"
import { canonicalKeys } from "./canonicalKeys.ts"
import { lookUp, sourceAt } from "./fold.ts"
import { invalidValues } from "./invalidValues.ts"
import { lineOf } from "./lineOf.ts"

/** The files in their order, or every problem of all of them. */
export const loadFiles = Effect.fnUntraced(function* (files: ReadonlyArray<string>) {
  const loaded = yield* Effect.forEach(files, (file) => Effect.result(loadFile(file)))
  const problems = loaded.flatMap((result) => (Result.isFailure(result) ? result.failure : []))
  const [first, ...rest] = problems
  if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
  return loaded.flatMap((result): ReadonlyArray<ConfigSource> => (Result.isSuccess(result) ? [result.success] : []))
})

/** The text of a file that is named by `key` (empty: a configuration file itself). */
export const readText = (file: string, key: string) =>
  Effect.tryPromise({
    try: () => readFile(file, "utf8"),
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error"
      return code === "ENOENT" ? new FileMissing({ file, key }) : new FileUnreadable({ file, key, code })
    }
  })

const loadFile = Effect.fnUntraced(function* (file: string) {
  const text = yield* readText(file, "").pipe(Effect.mapError((reason): ReadonlyArray<ConfigReason> => [reason]))
  return yield* Effect.fromResult(parseFile(file, text))
})

/** A configuration from its text; `file` is only for the messages. */
export const parseFile = (file: string, text: string): Result.Result<ConfigSource, ReadonlyArray<ConfigReason>> => {
  if (text.startsWith("\ufeff")) {
    const detail = "the file starts with a byte order mark; save it as UTF-8 without one"
    return Result.fail([new SyntaxInvalid({ file, line: 1, column: 1, detail })])
  }
  return Result.flatMap(parseToml(file, text), (document) => {
    const source = { origin: file, lineOf: (path: ReadonlyArray<PropertyKey>) => lineOf(text, path) }
    const originOf = (path: ReadonlyArray<PropertyKey>) => sourceAt(source, path)
    const { tables, problems } = canonicalKeys(document, originOf)
    const decoded = Schema.decodeUnknownResult(ConfigTables, { errors: "all" })(tables)
    if (Result.isSuccess(decoded) && problems.length === 0) {
      return Result.succeed({ ...source, tables: decoded.success })
    }
    const values = Result.isFailure(decoded)
      ? invalidValues(decoded.failure, "", originOf, (path) => lookUp(tables, path))
      : []
    return Result.fail([...problems, ...values])
  })
}

const parseToml = (file: string, text: string) =>
  Result.try({
    try: () => parse(text, { integersAsBigInt: true, unsafeKeyBehaviour: "throw" }),
    catch: (cause): ReadonlyArray<ConfigReason> => {
      const { line, column } = cause instanceof TomlError ? cause : { line: 1, column: 1 }
      const detail = String((cause as Error).message)
        .split("\n", 1)[0]!
        .replace(/^Invalid TOML document: /, "not valid TOML: ")
      return [new SyntaxInvalid({ file, line, column, detail })]
    }
  })
