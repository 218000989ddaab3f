import { assert, describe, it } from "@effect/vitest"
import { decode, encode } from "../../src/domain/base32hex.ts"

describe("base32hex", () => {
  it("gives back the bytes of every length", () => {
    for (let length = 0; length <= 33; length++) {
      const bytes = Uint8Array.from({ length }, (_, at) => 255 - at * 7)
      assert.deepEqual(decode(encode(bytes)), bytes)
    }
  })

  it("is the extended alphabet of RFC 4648, section 10, in lower case", () => {
    assert.strictEqual(encode(Buffer.from("foobar")), "cpnmuoj1e8")
    assert.deepEqual(decode("cpnmuoj1e8"), Uint8Array.from(Buffer.from("foobar")))
  })

  it("has no other letters, and ends with a byte", () => {
    assert.isUndefined(decode("CPNMUOJ1E8"))
    assert.isUndefined(decode("cpnmuoj1e8======"))
    assert.isUndefined(decode("cpnmuoj1w8"))
    for (const text of ["c", "cpn", "cpnmuo"]) assert.isUndefined(decode(text))
  })
})
