import { isIP } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { equals, format, fromBytes, toBytes, unmapped } from "../../src/domain/SocketAddress.ts"

const hex = (host: string) => {
  const bytes = toBytes(host)
  return bytes && Buffer.from(bytes).toString("hex")
}

describe("socket addresses", () => {
  it("literals have their bytes in network order", () => {
    assert.strictEqual(hex("192.0.2.1"), "c0000201")
    assert.strictEqual(hex("::"), "0".repeat(32))
    assert.strictEqual(hex("::1"), `${"0".repeat(30)}01`)
    assert.strictEqual(hex("2001:db8::"), `20010db8${"0".repeat(24)}`)
    assert.strictEqual(hex("2001:db8::7:0:8"), `20010db8${"0".repeat(12)}000700000008`)
    assert.strictEqual(hex("1:2:3:4:5:6:7:8"), "00010002000300040005000600070008")
    assert.strictEqual(hex("64:ff9b::192.0.2.1"), `0064ff9b${"0".repeat(16)}c0000201`)
  })

  it("a zone is no part of the bytes", () => {
    assert.strictEqual(hex("fe80::1%eth0"), hex("fe80::1"))
  })

  it("what is no literal has no bytes, and other lengths are no address", () => {
    for (const text of ["", "localhost", "192.0.2", "192.0.2.256", ":::", "1:2:3:4:5:6:7:8:9", "[::1]"]) {
      assert.isUndefined(toBytes(text), text)
    }
    for (const length of [0, 3, 5, 15, 17]) assert.isUndefined(fromBytes(new Uint8Array(length)))
  })

  it("an IPv4 address in IPv6 is unmapped, however it is written, and nothing else is", () => {
    assert.strictEqual(unmapped("::ffff:192.0.2.1"), "192.0.2.1")
    assert.strictEqual(unmapped("::FFFF:c000:201"), "192.0.2.1")
    assert.strictEqual(fromBytes(toBytes("::ffff:192.0.2.1")!), "192.0.2.1")
    for (const host of ["::1", "::192.0.2.1", "2001:db8::ffff:c000:201", "192.0.2.1", "::ffff:999.0.2.1"]) {
      assert.strictEqual(unmapped(host), host)
    }
  })

  it("is written with brackets where its colons would be mistaken", () => {
    assert.strictEqual(format({ host: "192.0.2.1", port: 80 }), "192.0.2.1:80")
    assert.strictEqual(format({ host: "2001:db8::1", port: 80 }), "[2001:db8::1]:80")
  })

  it("is equal to another with the same host and port only", () => {
    const address = { host: "192.0.2.1", port: 80 }
    assert.isTrue(equals(address, { ...address }))
    assert.isFalse(equals(address, { ...address, port: 81 }))
    assert.isFalse(equals(address, { ...address, host: "192.0.2.2" }))
  })

  const byte = Arbitrary.schema(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 })))
  for (const length of [4, 16]) {
    it.prop(
      `any ${length} bytes are an address, and come back from its text`,
      [Arbitrary.array(byte, { minLength: length, maxLength: length })],
      ([numbers]) => {
        const bytes = Uint8Array.from(numbers)
        const text = fromBytes(bytes)!
        assert.notStrictEqual(isIP(text), 0)
        if (isIP(text) === (length === 4 ? 4 : 6)) assert.deepEqual(toBytes(text), bytes)
        else assert.deepEqual(toBytes(text), bytes.slice(12))
      }
    )
  }
})
