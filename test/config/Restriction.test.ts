import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { ValueInvalid } from "../../src/config/ConfigError.ts"
import { checkRestriction } from "../../src/config/Restriction.ts"

const { role_option } = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "fixtures", "restrictions.json"), "utf8")
) as { readonly role_option: ReadonlyArray<{ readonly text: string; readonly parses: boolean; readonly role?: 1 | 2 }> }

const ON_THE_WIRE = { 1: "destination", 2: "source" } as const

const checked = (role: string) =>
  checkRestriction({ "role-matches": role }, (key, detail) => new ValueInvalid({ origin: "a.toml", key, detail }))

describe("the role of a restriction", () => {
  for (const { text, parses, role } of role_option.filter(({ text }) => text !== "")) {
    it.effect(`${JSON.stringify(text)} is ${parses ? "one" : "none"}, as upstream`, () =>
      Effect.gen(function* () {
        const result = yield* checked(text)
        assert.strictEqual(Result.isSuccess(result), parses)
        assert.strictEqual(Result.isSuccess(result) ? result.success.role : undefined, role && ON_THE_WIRE[role])
      })
    )
  }

  // Upstream's parser takes no empty text, and is not asked where nothing is written.
  it.effect("is both when nothing is written", () =>
    Effect.map(checked(""), (result) => assert.isUndefined(Result.getOrThrow(result).role))
  )

  it.effect("that was probably meant is told", () =>
    Effect.gen(function* () {
      const [problem] = [Result.getOrThrow(Result.flip(yield* checked("sources")))].flat()
      assert.strictEqual(
        problem!.message,
        'a.toml: role-matches: "sources" is not a role; did you mean "source"? Else write "destination" or "source"'
      )
    })
  )
})
