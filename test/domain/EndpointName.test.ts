import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { EndpointName, MAX_ENDPOINT_NAME_BYTES } from "../../src/domain/EndpointName.ts"

const isName = Schema.is(EndpointName)

describe("endpoint names", () => {
  it("are any text a person may choose", () => {
    for (const name of ["ssh", "my printer", "grün/drucker:2", "プリンター", "🖨️", "-", " "])
      assert.isTrue(isName(name), name)
  })

  it("are not empty, and have no control characters", () => {
    for (const name of ["", "a\nb", "a\u0000", "\u001b[31m", "a\u0085b"])
      assert.isFalse(isName(name), JSON.stringify(name))
  })

  it("are limited in bytes, not in letters", () => {
    assert.isTrue(isName("a".repeat(MAX_ENDPOINT_NAME_BYTES)))
    assert.isFalse(isName("a".repeat(MAX_ENDPOINT_NAME_BYTES + 1)))
    assert.isTrue(isName("ü".repeat(127)))
    assert.isFalse(isName("ü".repeat(128)))
  })
})
