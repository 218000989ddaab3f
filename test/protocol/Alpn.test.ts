import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { Alpn, frameWidth, type Link } from "../../src/protocol/Alpn.ts"
import { describe as describeCode, ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { decodeLength, encodeFrame, MAX_MESSAGE_BYTES } from "../../src/protocol/Frame.ts"

describe("the protocol of a link", () => {
  it("has prefixes of 4 bytes under its newest name and of 8 under its older one", () => {
    for (const link of Object.keys(Alpn) as ReadonlyArray<Link>) {
      assert.deepEqual(
        Alpn[link].map((name) => frameWidth(link, name)),
        [4, 8]
      )
    }
  })

  it("is told by link and name: one name is used on two links", () => {
    assert.strictEqual(frameWidth("relay", "connet-relay/0.3"), 4)
    assert.strictEqual(frameWidth("registration", "connet-relay/0.3"), 8)
  })
})

describe("a frame", () => {
  it("announces its length in either width, big end first", () => {
    const message = Buffer.from("abc")
    assert.strictEqual(encodeFrame(message, 4).toString("hex"), "00000003616263")
    assert.strictEqual(encodeFrame(message, 8).toString("hex"), "0000000000000003616263")
  })

  it("may be exactly as long as the limit, and not a byte longer", () => {
    const length = (hex: string) => Result.isSuccess(decodeLength(Buffer.from(hex, "hex"), MAX_MESSAGE_BYTES))
    assert.isTrue(length("01000000"))
    assert.isFalse(length("01000001"))
    assert.isTrue(length("0000000001000000"))
    assert.isFalse(length("0000000001000001"))
    assert.isFalse(length("8000000000000000"))
  })
})

describe("an error code", () => {
  it("has a meaning in words, each its own; an unknown one is its number", () => {
    const meanings = Object.values(ErrorCode).map(describeCode)
    assert.strictEqual(new Set(meanings).size, meanings.length)
    assert.notInclude(meanings.join(), "code ")
    assert.strictEqual(describeCode(77), "code 77")
  })
})
