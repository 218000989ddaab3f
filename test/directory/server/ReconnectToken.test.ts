import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { openReconnectToken, sealReconnectToken } from "../../../src/directory/server/ReconnectToken.ts"

const { reconnect_token: golden } = JSON.parse(
  readFileSync(new URL("../../fixtures/seal.json", import.meta.url), "utf8")
)
const hex = (text: string) => Buffer.from(text, "hex")

describe("reconnect tokens", () => {
  for (const { note, key, id, nonce, blob } of golden.sealed) {
    it(`are sealed as upstream seals them: ${note}`, () => {
      assert.strictEqual(sealReconnectToken(hex(key), id, hex(nonce)).toString("hex"), blob)
    })
  }

  for (const { note, key, blob, ok, id } of golden.open) {
    it(`${ok ? "are opened" : "are refused"} as upstream does: ${note}`, () => {
      assert.strictEqual(openReconnectToken(hex(key), hex(blob)), ok ? id : undefined)
    })
  }

  it("that were changed or cut anywhere are refused", () => {
    const { key, blob } = golden.sealed[0]
    for (let at = 0; at < hex(blob).length; at++) {
      const changed = hex(blob)
      changed[at]! ^= 1
      assert.isUndefined(openReconnectToken(hex(key), changed))
      assert.isUndefined(openReconnectToken(hex(key), hex(blob).subarray(0, at)))
    }
  })

  it("differ each time, though the id is the same", () => {
    const { key, id } = golden.sealed[0]
    assert.notDeepEqual(sealReconnectToken(hex(key), id), sealReconnectToken(hex(key), id))
  })
})
