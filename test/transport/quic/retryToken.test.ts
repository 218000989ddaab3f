import { randomBytes } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { issueRetryToken, openRetryToken } from "../../../src/transport/quic/internal/retryToken.ts"

const key = randomBytes(32)
const id = randomBytes(8)
const NOW = 1_800_000_000_000

describe("retry tokens", () => {
  const token = issueRetryToken(key, "192.0.2.1:1000", id, NOW)

  it("give back the connection id to the address they were made for", () => {
    assert.deepEqual(openRetryToken(key, "192.0.2.1:1000", token, NOW + 1_000), id)
  })

  it("are worth nothing to another address, with another key, or later", () => {
    assert.isUndefined(openRetryToken(key, "192.0.2.1:1001", token, NOW))
    assert.isUndefined(openRetryToken(randomBytes(32), "192.0.2.1:1000", token, NOW))
    assert.isUndefined(openRetryToken(key, "192.0.2.1:1000", token, NOW + 10_001))
    assert.isUndefined(openRetryToken(key, "192.0.2.1:1000", token, NOW - 1))
  })

  it("that were changed or cut anywhere are refused", () => {
    for (let at = 0; at < token.length; at++) {
      const changed = Buffer.from(token)
      changed[at]! ^= 1
      assert.isUndefined(openRetryToken(key, "192.0.2.1:1000", changed, NOW))
      assert.isUndefined(openRetryToken(key, "192.0.2.1:1000", token.subarray(0, at), NOW))
    }
  })
})
