import { Effect, Result } from "effect"
import { ConfigError, type ConfigReason } from "./ConfigError.ts"

/** A part of the settings, or what is wrong with it. */
export type Checked<A> = Result.Result<A, ConfigReason | ReadonlyArray<ConfigReason>>

type Values<Parts> = { readonly [K in keyof Parts]: Parts[K] extends Result.Result<infer A, unknown> ? A : never }

/** All parts, or every problem of all of them. */
export const together = <const Parts extends Readonly<Record<string, Checked<unknown>>>>(
  parts: Parts
): Effect.Effect<Values<Parts>, ConfigError> =>
  Effect.mapError(
    Effect.fromResult(checkedTogether(parts)),
    ([first, ...rest]) => new ConfigError({ reasons: [first!, ...rest] })
  )

/** The same as a part of something larger. */
export const checkedTogether = <const Parts extends Readonly<Record<string, Checked<unknown>>>>(
  parts: Parts
): Result.Result<Values<Parts>, ReadonlyArray<ConfigReason>> => {
  const problems = problemsOf(Object.values(parts))
  return problems.length === 0
    ? Result.succeed(Object.fromEntries(Object.keys(parts).map((key) => [key, valueOf(parts[key]!)])) as Values<Parts>)
    : Result.fail(problems)
}

/** The values in their order, or every problem of all of them. */
export const all = <A>(results: ReadonlyArray<Checked<A>>): Checked<ReadonlyArray<A>> => {
  const problems = problemsOf(results)
  return problems.length === 0 ? Result.succeed(results.map(valueOf)) : Result.fail(problems)
}

/** What is wrong with any of them. */
export const problemsOf = (results: ReadonlyArray<Checked<unknown>>): ReadonlyArray<ConfigReason> =>
  results.flatMap((result) => (Result.isFailure(result) ? result.failure : []))

const valueOf = <A>(result: Checked<A>): A => Result.getOrThrow(result)
