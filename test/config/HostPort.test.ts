import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parseHostport, parseListenAddress, parseServerAddress } from "../../src/config/HostPort.ts"
import { golden, text } from "./golden.ts"

describe("addresses", () => {
  for (const { server_addr, ok, dial } of golden.server_addresses) {
    // Upstream takes port 0, which nobody can dial, and sends an empty host to this machine.
    const expected = !ok || dial.endsWith(":0") ? undefined : dial.replace(/^:/, "localhost:")
    it(`server ${server_addr} ${expected === undefined ? "is refused" : `is ${expected}`}`, () => {
      const parsed = parseServerAddress(19190)(server_addr)
      assert.strictEqual(Result.isSuccess(parsed) ? text(parsed.success) : undefined, expected)
    })
  }

  for (const { text: written, ok, address } of golden.listen_addresses.filter((it) => it.text !== "")) {
    it(`listening on ${written} ${ok ? "is possible" : "is refused"}`, () => {
      const parsed = parseListenAddress(written)
      const resolved = Result.isSuccess(parsed) ? text(parsed.success).replace("localhost", "127.0.0.1") : undefined
      assert.strictEqual(resolved, ok ? address : undefined)
    })
  }

  it("a server without default port needs one", () => {
    assert.isTrue(Result.isFailure(parseServerAddress()("localhost")))
    assert.isTrue(Result.isSuccess(parseServerAddress()("localhost:1")))
  })

  it("an error says what to write instead", () => {
    const failure = (parsed: Result.Result<unknown, string>) => (Result.isFailure(parsed) ? parsed.failure : "")
    assert.strictEqual(failure(parseServerAddress(1)("::1")), '"::1" has no port; write [::1]:port')
    assert.strictEqual(
      failure(parseListenAddress("127.0.0.1")),
      '"127.0.0.1" is not a host and a port; write host:port, or [address]:port for IPv6'
    )
    assert.strictEqual(failure(parseHostport("::1")), '"::1" is an IPv6 address without brackets; write [::1]')
    assert.strictEqual(
      failure(parseHostport("a:b")),
      '"a:b" is not a host with or without port; write host, host:port or [address]:port'
    )
    assert.strictEqual(failure(parseHostport("a:65536")), '"65536" is not a port; ports are 0 to 65535')
  })
})
