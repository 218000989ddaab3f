import { Effect, References, Result } from "effect"
import type { CertsError, CertsReason } from "../certs/CertsError.ts"
import { loadAuthorities, loadIdentity } from "../certs/load.ts"
import { ConfigError, type ConfigReason, ValueInvalid } from "../config/ConfigError.ts"
import type { ConfigSource, RoleName } from "../config/ConfigTables.ts"
import { keyOf } from "../config/canonicalKeys.ts"
import { SKIP_VERIFY } from "../config/EndpointConfig.ts"
import { fold, originOf } from "../config/fold.ts"
import { logConfig } from "../config/LogConfig.ts"
import type { Loaded } from "../config/loadFiles.ts"
import { layerLogging, tellsStacks, toStderr } from "./logging.ts"

/** What a command runs, with the settings in the table of its name. */
export interface Role<E> {
  readonly name: RoleName
  /** Checks the settings before anything starts; succeeds with what runs until it is interrupted. */
  readonly prepare: (
    sources: ReadonlyArray<ConfigSource>
  ) => Effect.Effect<Effect.Effect<never, E>, ConfigError | CertsError>
}

/** Prepares a role, or tells everything that is wrong with its settings and the files that they name. */
export const prepare = Effect.fnUntraced(function* <E>(role: Role<E>, { sources, problems }: Loaded) {
  const log = yield* Effect.result(logConfig(sources))
  const config = Result.getOrElse(log, () => ({ level: "info", format: "text" }) as const)
  // No warning stands between errors.
  const warnings: Array<string> = []
  const held = layerLogging(config, (line) => void warnings.push(line))
  const run = yield* Effect.result(Effect.provide(role.prepare(sources), held))
  const ofFiles = yield* fileProblems(sources, role.name)
  const [first, ...rest] = [[...reasonsOf(log), ...reasonsOf(run)], ofFiles].reduce(withConsequences, problems)
  if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
  const start = yield* Effect.fromResult(run)
  for (const line of warnings) toStderr(line)
  return { stacks: tellsStacks(config), run: Effect.provide(start, layerLogging(config)) }
})

/** What a failure says of the settings. */
export const reasonsOf = (result: Result.Result<unknown, unknown>): ReadonlyArray<ConfigReason> =>
  Result.isFailure(result) && result.failure instanceof ConfigError ? result.failure.reasons : []

/** Problems, and further ones, but not those that are only there because a value was left out that had one before. */
const withConsequences = (problems: ReadonlyArray<ConfigReason>, further: ReadonlyArray<ConfigReason>) => {
  const known = problems.map(keyOfReason)
  const isKnown = (reason: ConfigReason) =>
    known.some(
      (key) => key === keyOfReason(reason) || (reason._tag === "ValueMissing" && key.startsWith(`${reason.key}[`))
    )
  return [...problems, ...further.filter((reason) => !isKnown(reason))]
}

const keyOfReason = (reason: ConfigReason): string => ("key" in reason ? reason.key : reason.message)

type Path = ReadonlyArray<PropertyKey>

/** What is wrong with certificates, keys and roots that the settings name. */
const fileProblems = Effect.fnUntraced(
  function* (sources: ReadonlyArray<ConfigSource>, role: RoleName) {
    const results = yield* Effect.forEach(loadsOf(fold(sources)[role], [role]), ({ pathOf, load }) =>
      load.pipe(
        Effect.as<ReadonlyArray<ConfigReason>>([]),
        Effect.catch(({ reason, message: detail }) => {
          const path = pathOf(reason)
          return Effect.succeed([new ValueInvalid({ origin: originOf(sources, path), key: keyOf(path), detail })])
        })
      )
    )
    return results.flat()
  },
  // They are loaded once more by the role, which warns of what is not valid now.
  Effect.provideService(References.MinimumLogLevel, "None")
)

interface Load {
  /** The setting that names what is wrong. */
  readonly pathOf: (reason: CertsReason) => Path
  readonly load: Effect.Effect<unknown, CertsError>
}

/** The files of a table and of those within it. Tokens are read with the settings, which hold them. */
const loadsOf = (value: unknown, path: Path): ReadonlyArray<Load> => {
  if (Array.isArray(value)) return value.flatMap((item, index) => loadsOf(item, [...path, index]))
  if (typeof value !== "object" || value === null) return []
  const table = value as Readonly<Record<string, unknown>>
  const { "cert-file": certificate, "key-file": key } = table
  const pathOf = (reason: CertsReason) => [
    ...path,
    reason._tag === "KeyMismatch" || ("file" in reason && reason.file === key && key !== certificate)
      ? "key-file"
      : "cert-file"
  ]
  const pair = isPath(certificate) && isPath(key) ? [{ pathOf, load: loadIdentity(certificate, key) }] : []
  const others = Object.entries(table).flatMap(([name, item]) => {
    const at = [...path, name]
    if (!name.endsWith("cas-file")) return loadsOf(item, at)
    return isPath(item) && item !== SKIP_VERIFY ? [{ pathOf: () => at, load: loadAuthorities(item) }] : []
  })
  return [...pair, ...others]
}

const isPath = (value: unknown): value is string => typeof value === "string" && value !== ""
