import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parseDuration } from "../../src/config/parseDuration.ts"
import { golden } from "./golden.ts"

describe("durations", () => {
  for (const { text, ok, nanoseconds } of golden.durations) {
    it(`${JSON.stringify(text)} ${ok ? `is ${nanoseconds} ns` : "is refused"}`, () => {
      const parsed = parseDuration(text)
      assert.deepStrictEqual(
        Result.isSuccess(parsed) ? String(parsed.success) : undefined,
        ok ? nanoseconds : undefined
      )
    })
  }
})
