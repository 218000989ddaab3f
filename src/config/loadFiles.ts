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
import { invalidPaths, invalidValues } from "./invalidValues.ts"
import { lineOf } from "./lineOf.ts"

/** What files say, as far as it can be understood, and what is wrong with them. */
export interface Loaded {
  readonly sources: ReadonlyArray<ConfigSource>
  readonly problems: ReadonlyArray<ConfigReason>
}

/**
 * The files in their order. Fails when one of them cannot be read or is not TOML: then nothing is known of what they say
 * together. Keys and values that cannot be are problems, and left out.
 */
export const readFiles = Effect.fnUntraced(function* (files: ReadonlyArray<string>) {
  const read = yield* Effect.forEach(files, (file) =>
    Effect.result(Effect.flatMap(readText(file, "", ""), (text) => Effect.fromResult(understand(file, text))))
  )
  const [first, ...rest] = read.flatMap((result) => (Result.isFailure(result) ? [result.failure] : []))
  if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
  const understood = read.flatMap((result) => (Result.isSuccess(result) ? [result.success] : []))
  return {
    sources: understood.map(({ source }) => source),
    problems: understood.flatMap(({ problems }) => problems)
  } satisfies Loaded
})

/** The files in their order, or every problem of all of them. */
export const loadFiles = Effect.fnUntraced(function* (files: ReadonlyArray<string>) {
  const { sources, problems } = yield* readFiles(files)
  const [first, ...rest] = problems
  return first === undefined ? sources : yield* new ConfigError({ reasons: [first, ...rest] })
})

/** The text of a file that is named by `key` at `origin`; both are empty for a configuration file itself. */
export const readText = (file: string, key: string, origin: string) =>
  Effect.map(readBytes(file, key, origin), (bytes) => bytes.toString("utf8"))

/** The same of a file that holds no text. */
export const readBytes = (file: string, key: string, origin: string) =>
  Effect.tryPromise({
    try: () => readFile(file),
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error"
      return code === "ENOENT"
        ? new FileMissing({ file, key, origin })
        : new FileUnreadable({ file, key, origin, code })
    }
  })

/** A configuration from its text, or every problem of it; `file` is only for the messages. */
export const parseFile = (file: string, text: string): Result.Result<ConfigSource, ReadonlyArray<ConfigReason>> => {
  const understood = understand(file, text)
  if (Result.isFailure(understood)) return Result.fail([understood.failure])
  const { source, problems } = understood.success
  return problems.length === 0 ? Result.succeed(source) : Result.fail(problems)
}

/** A configuration with what is wrong in it, or why it is not TOML. */
const understand = (file: string, text: string) => {
  if (text.startsWith("\ufeff")) {
    const detail = "the file starts with a byte order mark; save it as UTF-8 without one"
    return Result.fail(new SyntaxInvalid({ file, line: 1, column: 1, detail }))
  }
  return Result.map(parseToml(file, text), (document) => {
    const place = { origin: file, lineOf: (path: ReadonlyArray<PropertyKey>) => lineOf(text, path) }
    const originOf = (path: ReadonlyArray<PropertyKey>) => sourceAt(place, path)
    const { tables: written, problems } = canonicalKeys(document, originOf)
    let tables = written
    // What cannot be is told and taken out, until the rest can be read.
    while (true) {
      const decoded = Schema.decodeUnknownResult(ConfigTables, { errors: "all" })(tables)
      if (Result.isSuccess(decoded)) {
        return { source: { ...place, tables: decoded.success } satisfies ConfigSource, problems }
      }
      problems.push(...invalidValues(decoded.failure, "", originOf, (path) => lookUp(written, path)))
      for (const path of invalidPaths(decoded.failure)) tables = without(tables, path)
    }
  })
}

/** The value without what is at a path of it; a position of an array takes the whole array with it. */
const without = (value: unknown, [key, ...rest]: ReadonlyArray<PropertyKey>): unknown => {
  // Where nothing is left, it went with another problem.
  if (key === undefined || value === undefined || Array.isArray(value)) return undefined
  const { [key]: inner, ...others } = value as Record<PropertyKey, unknown>
  const left = without(inner, rest)
  return left === undefined ? others : { ...others, [key]: left }
}

const parseToml = (file: string, text: string) =>
  Result.try({
    try: () => parse(text, { integersAsBigInt: true, unsafeKeyBehaviour: "throw" }),
    catch: (cause): ConfigReason => {
      const { line, column } = cause instanceof TomlError ? cause : { line: 1, column: 1 }
      const detail = String((cause as Error).message)
        .split("\n", 1)[0]!
        .replace(/^Invalid TOML document: /, "not valid TOML: ")
      return new SyntaxInvalid({ file, line, column, detail })
    }
  })
