import { assert, describe, it } from "@effect/vitest"
import { serverName, Trust } from "../../src/transport/Trust.ts"

describe("the name that is asked for in a handshake", () => {
  it("is that of a certificate from an authority, and none for an address or a fingerprint", () => {
    assert.strictEqual(serverName(Trust.authorities("one.example.test")), "one.example.test")
    assert.isUndefined(serverName(Trust.authorities("192.0.2.1")))
    assert.isUndefined(serverName(Trust.fingerprint("0".repeat(64))))
  })
})
