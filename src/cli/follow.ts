/**
 * Settings that change while a role runs: all that can be taken over after SIGHUP, and at once what stands in tokens files and
 * certificates. What is wrong with new settings is told, and the old ones stay.
 */
import { stat } from "node:fs/promises"
import { Context, Duration, Effect, Queue } from "effect"
import type { CertsError } from "../certs/CertsError.ts"
import { ConfigError } from "../config/ConfigError.ts"
import type { ConfigSource, RoleName } from "../config/ConfigTables.ts"
import { fold } from "../config/fold.ts"
import type { Loaded } from "../config/loadFiles.ts"

/** How often tokens files and certificates are looked at. */
const LOOK_EVERY = Duration.seconds(2)

/** Reads the settings again that a command was started with. Nothing can be read again where nobody says what. */
export const Settings = Context.Reference<Effect.Effect<Loaded, ConfigError>>("connet/cli/Settings", {
  defaultValue: () => Effect.never
})

/**
 * Takes over newer settings than those that a role was started with, for ever.
 *
 * @param apply takes over what can be taken over in a running role
 */
export const follow = Effect.fnUntraced(function* (
  role: RoleName,
  started: ReadonlyArray<ConfigSource>,
  apply: (sources: ReadonlyArray<ConfigSource>) => Effect.Effect<void, ConfigError | CertsError>
) {
  const read = yield* Settings
  const asked = yield* hangUps
  const filesOf = (sources: ReadonlyArray<ConfigSource>) => filesIn(fold(sources)[role])
  let sources = started
  let files = filesOf(sources)
  let seen = yield* lookAt(files)
  while (true) {
    const hungUp = yield* Effect.raceFirst(
      Effect.as(Queue.take(asked), true),
      Effect.as(Effect.sleep(LOOK_EVERY), false)
    )
    const now = yield* lookAt(files)
    if (!hungUp && now === seen) continue
    seen = now
    yield* Effect.gen(function* () {
      // Only a signal says that the files of settings are finished.
      if (hungUp) {
        const loaded = yield* read
        const [first, ...rest] = loaded.problems
        if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
        const named = filesOf(loaded.sources)
        // Before they are read: what changes meanwhile is seen at the next look.
        const found = yield* lookAt(named)
        yield* apply(loaded.sources)
        sources = loaded.sources
        files = named
        seen = found
      } else {
        yield* apply(sources)
      }
      yield* Effect.annotateLogs(Effect.logInfo("settings.taken"), { because: hungUp ? "SIGHUP" : "files" })
    }).pipe(
      Effect.catch(({ message }) =>
        Effect.annotateLogs(Effect.logWarning("settings.refused"), {
          reason: message,
          hint: "the settings before stay in force"
        })
      )
    )
  }
}, Effect.scoped)

/** One element for each SIGHUP that came, or for several at once. */
const hangUps = Effect.gen(function* () {
  const queue = yield* Queue.sliding<void>(1)
  const offer = () => void Queue.offerUnsafe(queue, undefined)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGHUP", offer)),
    () => Effect.sync(() => process.off("SIGHUP", offer))
  )
  return queue
})

/** The files of tokens and certificates that a table names, or one within it. */
const filesIn = (table: unknown): ReadonlyArray<string> => {
  if (typeof table !== "object" || table === null) return []
  return Object.entries(table).flatMap(([key, value]) => {
    if (typeof value !== "string") return filesIn(value)
    return /^(cert-file|key-file|.*tokens-file)$/.test(key) && value !== "" ? [value] : []
  })
}

/** What differs when a file was written again or replaced. */
const lookAt = (files: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(files, (file) =>
      Effect.promise(() =>
        stat(file).then(
          ({ ino, mtimeMs, size }) => `${ino} ${mtimeMs} ${size}`,
          (error: NodeJS.ErrnoException) => error.code ?? ""
        )
      )
    ),
    (found) => found.join("\n")
  )
