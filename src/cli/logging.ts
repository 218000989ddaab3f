/**
 * The log of the process: one line an event on stderr, as text for people or as JSON for machines.
 *
 * Stack traces are written only when `debug` or more is logged; text from outside cannot forge a line, because what is
 * not plain is quoted.
 */
import { Cause, Layer, Logger, type LogLevel, References } from "effect"
import type { LogConfig } from "../config/LogConfig.ts"
import { makeRepeats } from "./repeats.ts"

/** Writes a line, which has its end, to stderr. */
export const toStderr = (line: string): void => void process.stderr.write(line)

/** Whether stack traces are written. */
export const tellsStacks = ({ level }: LogConfig): boolean => level === "debug" || level === "fine"

/** The logger of these settings, in place of the default one. */
export const layerLogging = (config: LogConfig, write = toStderr): Layer.Layer<never> => {
  const stacks = tellsStacks(config)
  const format = config.format === "json" ? json : text
  // Whoever looks closely wants to see everything.
  const written = stacks ? (record: LogRecord) => [record] : makeRepeats()
  return Layer.mergeAll(
    Logger.layer([
      Logger.make((options) => {
        for (const record of written(recordOf(options, stacks))) write(`${format(record)}\n`)
      })
    ]),
    Layer.succeed(References.MinimumLogLevel, LEVELS[config.level])
  )
}

const LEVELS: Record<LogConfig["level"], LogLevel.LogLevel> = {
  fine: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error"
}

/** One line of the log, before it is written. */
export interface LogRecord {
  readonly time: string
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
  readonly cause: string | undefined
}

const recordOf = ({ date, logLevel, message, cause, fiber }: Logger.Options<unknown>, stacks: boolean): LogRecord => {
  const parts = Array.isArray(message) ? message : [message]
  return {
    time: date.toISOString(),
    level: NAMES[logLevel] ?? logLevel.toLowerCase(),
    message: parts.map((part) => (typeof part === "string" ? part : inspect(part))).join(" "),
    fields: fiber.getRef(References.CurrentLogAnnotations),
    cause: cause.reasons.length === 0 ? undefined : explain(cause, stacks)
  }
}

/** Upstream's names of the levels. */
const NAMES: Partial<Record<LogLevel.LogLevel, string>> = { Trace: "fine", Warn: "warn", Fatal: "error" }

/** What a cause says: its messages, with their stacks where they are wanted. */
export const explain = (cause: Cause.Cause<unknown>, stacks: boolean): string =>
  stacks
    ? Cause.pretty(cause)
    : Cause.prettyErrors(cause)
        .map(({ message }) => message)
        .join("; ")

const json = ({ time, level, message, fields, cause }: LogRecord): string =>
  JSON.stringify({ time, level, message, ...fields, ...(cause === undefined ? {} : { cause }) }, (_, value) =>
    typeof value === "bigint" ? String(value) : value instanceof Error ? value.message : value
  )

const text = ({ time, level, message, fields, cause }: LogRecord): string => {
  const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${quoted(inspect(value))}`)
  const because = cause === undefined ? "" : cause.includes("\n") ? `\n${cause}` : ` cause=${quoted(cause)}`
  return `${time} ${level.padEnd(5)} ${message.replaceAll(CONTROL, "?")}${pairs.join("")}${because}`
}

const inspect = (value: unknown): string => {
  if (typeof value === "string") return value
  if (value instanceof Error) return value.message
  return (typeof value === "object" ? JSON.stringify(value) : undefined) ?? String(value)
}

const quoted = (value: string): string => (/^[^\s"=\p{Cc}]+$/u.test(value) ? value : JSON.stringify(value))

const CONTROL = /\p{Cc}/gu
