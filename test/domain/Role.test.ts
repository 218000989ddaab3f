import { assert, it } from "@effect/vitest"
import { opposite } from "../../src/domain/Role.ts"

it("sources meet destinations", () => {
  assert.strictEqual(opposite("source"), "destination")
  assert.strictEqual(opposite("destination"), "source")
})
