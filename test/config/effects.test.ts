import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { KNOWN_KEYS } from "../../src/config/canonicalKeys.ts"
import { EFFECTS } from "./effects.ts"

const TESTS = join(import.meta.dirname, "..")
/** Keys that hold a value, not a table. */
const keys = KNOWN_KEYS.filter((key) => !KNOWN_KEYS.some((other) => other.startsWith(`${key}.`)))

/** Whether the text of a file has a test of this name, with quotes around it. */
const names = (text: string, name: string) => {
  const plain = text.replaceAll(/\$\{\w+\}/g, "…")
  return ['"', "'", "`"].some((quote) => plain.includes(`${quote}${name}${quote}`))
}

describe("every key has its effect", () => {
  it.each(keys)("of %s there is a test that shows it", (key) => {
    const [, file, name] = /^(.*?\.test\.ts): (.*)$/.exec(EFFECTS[key] ?? "") ?? []
    if (file === undefined || name === undefined) {
      return assert.fail(`test/config/effects.ts has no test for ${key}: write "file: name of the test"`)
    }
    assert.isTrue(existsSync(join(TESTS, file)), `there is no file test/${file}`)
    assert.isTrue(names(readFileSync(join(TESTS, file), "utf8"), name), `test/${file} has no test "${name}"`)
  })

  it("and no other key has", () => {
    assert.deepEqual(
      Object.keys(EFFECTS).filter((key) => !keys.includes(key)),
      []
    )
  })
})
