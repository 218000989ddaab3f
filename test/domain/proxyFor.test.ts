import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { formatProxy } from "../../src/domain/Proxy.ts"
import { type Environment, proxyFor } from "../../src/domain/proxyFor.ts"

/** The proxy as text, `direct` for none, or the complaint. */
const way = (environment: Environment, host = "server.example.com", port = 19_190) =>
  Result.match(proxyFor(environment, { host, port }), {
    onSuccess: (proxy) => (proxy === undefined ? "direct" : formatProxy(proxy)),
    onFailure: (message) => message
  })

describe("the proxy of an environment", () => {
  it("is that of HTTPS_PROXY, else of ALL_PROXY; what is empty is not set", () => {
    const all = {
      HTTPS_PROXY: "http://a:1",
      https_proxy: "http://b:1",
      ALL_PROXY: "http://c:1",
      all_proxy: "http://d:1"
    }
    assert.strictEqual(way(all), "http://a:1")
    assert.strictEqual(way({ ...all, HTTPS_PROXY: "" }), "http://b:1")
    assert.strictEqual(way({ ...all, HTTPS_PROXY: "", https_proxy: undefined }), "http://c:1")
    assert.strictEqual(way({ all_proxy: "socks5://d:1" }), "socks5://d:1")
    assert.strictEqual(way({ HTTP_PROXY: "http://e:1", PATH: "/bin" }), "direct")
  })

  it("is not used for this machine", () => {
    for (const host of [
      "localhost",
      "LOCALHOST.",
      "a.localhost",
      "127.0.0.1",
      "127.9.9.9",
      "::1",
      "::ffff:127.0.0.1"
    ]) {
      assert.strictEqual(way({ ALL_PROXY: "http://p:1" }, host), "direct", host)
    }
    assert.strictEqual(way({ ALL_PROXY: "http://p:1" }, "localhost.example.com"), "http://p:1")
  })

  it("that is none is told with the variable it stands in, without its password", () => {
    assert.strictEqual(
      way({ https_proxy: "socks4://u:secret@h:1" }),
      'https_proxy: "socks4://…@h:1" has a scheme that is not one of a proxy; write http://host:port, https://host:port or socks5://host:port'
    )
  })

  for (const [exceptions, direct, proxied] of [
    ["*", ["server.example.com", "10.1.2.3", "::2"], []],
    ["other.example,example.com", ["example.com", "a.b.example.com", "Example.COM."], ["notexample.com", "10.0.0.1"]],
    [".example.com", ["a.example.com"], ["example.com", "a.notexample.com"]],
    ["*.example.com", ["a.example.com"], ["example.com"]],
    ["a.example.com:19190", ["a.example.com"], ["b.example.com"]],
    ["a.example.com:443 b.example.com", ["b.example.com"], ["a.example.com"]],
    ["10.0.0.0/8", ["10.255.0.1", "::ffff:10.0.0.1"], ["11.0.0.1", "10.example.com"]],
    ["192.0.2.7,192.0.2.8:19190,192.0.2.9:1", ["192.0.2.7", "192.0.2.8"], ["192.0.2.9", "192.0.2.77"]],
    ["2001:db8::/32,fd00:0::1", ["2001:db8:1::1", "fd00::1"], ["2001:db9::1", "fd00::2"]],
    ["[2001:db8::1]:19190,[2001:db8::2]:1", ["2001:db8::1"], ["2001:db8::2"]],
    ["10.0.0.0/99,/8,:,., ,[", [], ["10.0.0.1", "a.b"]]
  ] as const) {
    it(`is not used for what NO_PROXY=${exceptions} names`, () => {
      for (const variable of ["NO_PROXY", "no_proxy"]) {
        const environment = { ALL_PROXY: "http://p:1", [variable]: exceptions }
        for (const host of direct) assert.strictEqual(way(environment, host), "direct", host)
        for (const host of proxied) assert.strictEqual(way(environment, host), "http://p:1", host)
      }
    })
  }
})
