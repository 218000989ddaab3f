import { assert, describe, it } from "@effect/vitest"
import { serverInitialKeys } from "../../../src/transport/quic/internal/initialClose.ts"

describe("the keys of a refusal", () => {
  it("are those of RFC 9001, appendix A.1", () => {
    const { key, iv, hp } = serverInitialKeys(Buffer.from("8394c8f03e515708", "hex"))
    assert.deepEqual(
      [key, iv, hp].map((bytes) => bytes.toString("hex")),
      ["cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e", "c206b8d9b9f0f37644430b490eeaa314"]
    )
  })
})
