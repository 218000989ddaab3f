import { assert, it } from "@effect/vitest"
import { onceFor } from "../../src/internal/onceFor.ts"

it("what belongs to an object is made once for each, and again after it could not be made", () => {
  const keys: Array<object> = []
  let broken = true
  const lengthOf = onceFor((key: { readonly text: string }) => {
    keys.push(key)
    if (broken) throw new Error("broken")
    return key.text.length
  })
  const [one, other] = [{ text: "one" }, { text: "other" }]
  assert.throws(() => lengthOf(one), "broken")
  broken = false
  assert.deepStrictEqual([lengthOf(one), lengthOf(other), lengthOf(one)], [3, 5, 3])
  assert.deepStrictEqual(keys, [one, one, other])
})
