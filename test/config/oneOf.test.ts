import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { oneOf } from "../../src/config/oneOf.ts"

const route = oneOf("a route", ["any", "direct", "relay"])
const refused = (text: string) => Result.getOrThrow(Result.flip(route(text)))

describe("one of some words", () => {
  it("is taken as it is written", () => assert.strictEqual(Result.getOrThrow(route("relay")), "relay"))

  it("is told with the word that was probably meant", () => {
    assert.strictEqual(
      refused("RELAY"),
      '"RELAY" is not a route; did you mean "relay"? Else write "any", "direct" or "relay"'
    )
    assert.include(refused("dirct"), 'did you mean "direct"?')
  })

  it("is told with all of them, when nothing is like it", () => {
    assert.strictEqual(refused("udp"), '"udp" is not a route; write "any", "direct" or "relay"')
    assert.strictEqual(refused(""), '"" is not a route; write "any", "direct" or "relay"')
  })
})
