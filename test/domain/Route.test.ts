import { assert, it } from "@effect/vitest"
import { allowsDirect, allowsRelay } from "../../src/domain/Route.ts"

it("each route allows what it names, and `any` both", () => {
  assert.deepEqual((["any", "direct", "relay"] as const).map(allowsDirect), [true, true, false])
  assert.deepEqual((["any", "direct", "relay"] as const).map(allowsRelay), [true, false, true])
})
