import { assert, describe, it } from "vitest"
import { withForwarded } from "../../../src/endpoint/http/forwarded.ts"

const sender = { address: "198.51.100.7", secure: false, host: "example.org" }

const fields = (lines: Array<string>) => {
  const result: Record<string, string> = {}
  for (let at = 0; at < lines.length; at += 2) {
    assert.notProperty(result, lines[at]!)
    result[lines[at]!] = lines[at + 1]!
  }
  return result
}

describe("forwarding fields", () => {
  it("tell of a user without any before", () => {
    assert.deepStrictEqual(fields(withForwarded(["A", "b"], sender)), {
      A: "b",
      "X-Forwarded-For": "198.51.100.7",
      "X-Forwarded-Host": "example.org",
      "X-Forwarded-Proto": "http",
      Forwarded: "for=198.51.100.7;host=example.org;proto=http"
    })
  })

  it("keep the chain, and are not told host and protocol by a stranger", () => {
    const lines = [
      "x-forwarded-for",
      "a",
      "X-Forwarded-For",
      "b",
      "X-Forwarded-Proto",
      "https",
      "X-Forwarded-Host",
      "evil"
    ]
    const result = fields(withForwarded([...lines, "Forwarded", "for=z"], sender))
    assert.strictEqual(result["X-Forwarded-For"], "a, b, 198.51.100.7")
    assert.strictEqual(result["X-Forwarded-Proto"], "http")
    assert.strictEqual(result["X-Forwarded-Host"], "example.org")
    assert.strictEqual(result.Forwarded, "for=z, for=198.51.100.7;host=example.org;proto=http")
  })

  it("believe a proxy on the same machine", () => {
    const lines = ["X-Forwarded-For", "203.0.113.5", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "front"]
    const result = fields(withForwarded(lines, { ...sender, address: "::ffff:127.0.0.1" }))
    assert.strictEqual(result["X-Forwarded-For"], "203.0.113.5, 127.0.0.1")
    assert.strictEqual(result["X-Forwarded-Proto"], "https")
    assert.strictEqual(result["X-Forwarded-Host"], "front")
    assert.strictEqual(result.Forwarded, "for=203.0.113.5, for=127.0.0.1;host=front;proto=https")
  })

  it("are left alone by an end that does not know the user", () => {
    const told = withForwarded([], sender)
    assert.deepStrictEqual(withForwarded(told, { address: undefined, secure: false, host: "web" }), told)
  })

  it("say of nobody that he is unknown", () => {
    const result = fields(withForwarded([], { address: undefined, secure: false, host: "" }))
    assert.deepStrictEqual(result, { "X-Forwarded-Proto": "http", Forwarded: "for=unknown;proto=http" })
  })

  it("quote what is no token", () => {
    const result = fields(withForwarded([], { address: "2001:db8::1", secure: true, host: "h:8443" }))
    assert.strictEqual(result.Forwarded, 'for="[2001:db8::1]";host="h:8443";proto=https')
    assert.strictEqual(result["X-Forwarded-For"], "2001:db8::1")
  })
})
