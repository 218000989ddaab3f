import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { fold } from "../../src/config/fold.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { MORE, OTHERWISE, STRICTER } from "./differences.ts"
import { checkError, expected } from "./expected.ts"
import { golden, type Role, runCase } from "./golden.ts"

/** Folded tables as the fixture writes them: durations are numbers, and what is empty is left out. */
const plain = (value: unknown): unknown => {
  if (typeof value === "bigint") return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== "" && item !== 0n && item !== false && !(Array.isArray(item) && item.length === 0))
      .map(([key, item]) => [key, plain(item)])
  )
}

describe("configuration files", () => {
  for (const it_ of golden.cases.filter(({ flags }) => flags === undefined)) {
    const because = STRICTER.get(it_.id) ?? OTHERWISE.get(it_.id)?.because ?? MORE.get(it_.id)
    it.effect(`${it_.id}: ${because ?? `${it_.note}, as upstream`}`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.result(runCase(it_, []))
        if (MORE.has(it_.id)) return assert.isTrue(Result.isSuccess(result))
        if (STRICTER.has(it_.id) || !it_.result.ok) {
          if (Result.isSuccess(result)) return assert.fail(`accepted: ${JSON.stringify(result.success)}`)
          checkError(it_, result.failure)
        } else {
          if (Result.isFailure(result)) return assert.fail(result.failure.message)
          assert.deepStrictEqual<unknown>(result.success.effective, expected(it_))
        }
      })
    )
  }

  for (const it_ of golden.cases.filter(({ flags, merged }) => flags === undefined && merged !== undefined)) {
    it(`${it_.id}: ${it_.note}, folds as upstream`, () => {
      const folded = fold(
        it_.files.map(({ name, toml }) => Result.getOrThrowWith(parseFile(name, toml!), (errors) => errors[0]!))
      )
      assert.deepStrictEqual(plain(folded[it_.command as Role] ?? {}), it_.merged)
    })
  }
})
