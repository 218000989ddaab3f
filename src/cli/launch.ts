import { Cause, Effect, Option, Schema } from "effect"
import * as Runtime from "effect/Runtime"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { readFiles } from "../config/loadFiles.ts"
import { ConfigFlag, commandLine, LogFormatFlag, LogLevelFlag } from "./flags.ts"
import { Settings } from "./follow.ts"
import { explain } from "./logging.ts"
import { prepare, type Role } from "./Role.ts"

/** The command is over, what there was to say has been said, and the process ends with this code. */
export class Ended extends Schema.TaggedError<Ended>()("Ended", { code: Schema.Int }) {
  override get [Runtime.errorExitCode]() {
    return this.code
  }
  override readonly [Runtime.errorReported] = false
}

/**
 * Runs a role until it is interrupted: reads the files of `--config`, folds the command's own settings last, logs as they
 * say, and starts what they ask for once all of it was checked. A failure is told on stderr, and ends the command with
 * code 1.
 */
export const launch = <E>(own: ConfigSource, role: Role<E>) =>
  Effect.gen(function* () {
    const [names, log] = [yield* ConfigFlag, yield* logSource]
    const read = Effect.map(readFiles(names), ({ sources, problems }) => ({
      sources: [...sources, log, own],
      problems
    }))
    const { stacks, run } = yield* prepare(role, yield* read)
    return yield* run.pipe(
      Effect.provideService(Settings, read),
      Effect.catchCause((cause) => fail(cause, stacks))
    )
  }).pipe(Effect.catchCause((cause) => fail(cause, false)))

/** The settings that `--log-level` and `--log-format` stand for. */
export const logSource = Effect.gen(function* () {
  return commandLine({
    ...Option.match(yield* LogLevelFlag, { onNone: () => ({}), onSome: (level) => ({ "log-level": level }) }),
    ...Option.match(yield* LogFormatFlag, { onNone: () => ({}), onSome: (format) => ({ "log-format": format }) })
  })
})

/** Tells what went wrong, unless that was done or the command was only interrupted. */
export const fail = Effect.fnUntraced(function* (cause: Cause.Cause<unknown>, stacks: boolean) {
  if (Cause.hasInterruptsOnly(cause)) return yield* Effect.interrupt
  const ended = Cause.squash(cause)
  if (ended instanceof Ended) return yield* ended
  const defect = Cause.hasFails(cause) ? "" : "this is a bug in connet, please report it: "
  yield* Effect.sync(() => process.stderr.write(`connet: ${defect}${explain(cause, stacks)}\n`))
  return yield* new Ended({ code: 1 })
})
