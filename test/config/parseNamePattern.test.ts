import { readFileSync } from "node:fs"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { parseNamePattern } from "../../src/config/parseNamePattern.ts"

const { names } = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "fixtures", "restrictions.json"), "utf8")
) as {
  readonly names: ReadonlyArray<{
    readonly expression: string
    readonly parses: boolean
    readonly checks?: ReadonlyArray<{ readonly name: string; readonly allowed: boolean }>
  }>
}

/** Where we refuse what upstream takes. */
const STRICTER: Readonly<Record<string, string>> = {
  "(?<n>a)(?<n>b)": "two groups of one name are a mistake"
}

describe("a pattern of names", () => {
  for (const { expression, parses, checks = [] } of names) {
    const stricter = STRICTER[expression]
    it.effect(`${JSON.stringify(expression)}: ${stricter ?? "as upstream"}`, () =>
      Effect.gen(function* () {
        const pattern = yield* Effect.result(parseNamePattern(expression))
        assert.strictEqual(Result.isSuccess(pattern), parses && stricter === undefined)
        if (Result.isFailure(pattern))
          return assert.include(pattern.failure, `"${expression}" is no regular expression`)
        assert.deepEqual(
          checks.map(({ name }) => [name, pattern.success.matches(name)]),
          checks.map(({ name, allowed }) => [name, allowed])
        )
      })
    )
  }

  for (const expression of ["(a+)+$", "^(([a-z])+.)+[A-Z]([a-z])+$", "(a*)*b", "(a|aa)+$"]) {
    it.effect(`${expression} costs less than 10 ms, however hostile the name is`, () =>
      Effect.gen(function* () {
        const { matches } = yield* parseNamePattern(expression)
        const millis = (length: number) => {
          const name = `${"a".repeat(length - 1)}!`
          const began = performance.now()
          assert.isFalse(matches(name))
          return performance.now() - began
        }
        // The best of three, since others may have the processor; no name is as long as the second one.
        for (const length of [255, 100_000]) {
          assert.isBelow(Math.min(millis(length), millis(length), millis(length)), 10)
        }
      })
    )
  }
})
