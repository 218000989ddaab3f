import { assert, describe, it } from "@effect/vitest"
import { Redacted, Result } from "effect"
import { formatProxy, parseProxy } from "../../src/domain/Proxy.ts"

const shown = (text: string) => {
  const parsed = Result.getOrThrow(parseProxy(text))
  const { credentials } = parsed
  return {
    url: formatProxy(parsed),
    user: credentials && `${credentials.username} ${Redacted.value(credentials.password)}`
  }
}

describe("a proxy", () => {
  for (const [text, url, user] of [
    ["http://proxy.example:3128", "http://proxy.example:3128", undefined],
    ["https://proxy.example/", "https://proxy.example:443", undefined],
    ["HTTP://proxy.example", "http://proxy.example:80", undefined],
    ["proxy.example:3128", "http://proxy.example:3128", undefined],
    ["user:pass@10.0.0.1:3128", "http://10.0.0.1:3128", "user pass"],
    ["socks5://127.0.0.1", "socks5://127.0.0.1:1080", undefined],
    ["socks5h://[::1]:9050", "socks5://[::1]:9050", undefined],
    ["socks5://only%40user@h:1", "socks5://h:1", "only@user "],
    ["http://u:p@ss/w?r#d:x@h:1", "http://h:1", "u p@ss/w?r#d:x"],
    ["http://u:%3A%25@h:1", "http://h:1", "u :%"]
  ] as const) {
    it(`${text} is ${url}${user === undefined ? "" : `, as "${user}"`}`, () => {
      assert.deepStrictEqual(shown(text), { url, user })
    })
  }

  const expected = "write http://host:port, https://host:port or socks5://host:port"
  for (const [text, message] of [
    ["", `"" is not a proxy; ${expected}`],
    ["proxy.example", `"proxy.example" has no port; ${expected}`],
    ["ftp://h:1", `"ftp://h:1" has a scheme that is not one of a proxy; ${expected}`],
    ["http://h:1/path", `"http://h…" is not a proxy; ${expected}`],
    ["http://h:0", '"http://h:0" has no port that can be dialed; ports are 1 to 65535'],
    ["http://h:65536", '"http://h:65536" has no port that can be dialed; ports are 1 to 65535'],
    ["http://[::g]:1", '"http://[::g]:1" has no IPv6 address between its brackets; write one like [2001:db8::1]'],
    ["http://::1:3128", `"http://…" is not a proxy; ${expected}`],
    [
      "http://u:secret%@h:1",
      '"http://…@h:1" has a "%" in its user name or password that encodes nothing; write %25 for the sign itself'
    ],
    ["http://:secret@h:1", '"http://…@h:1" has no user name before its @; write user:password@, or leave it out'],
    ["http://a%3Ab:secret@h:1", '"http://…@h:1" has a colon in its user name, which HTTP does not allow'],
    [
      `socks5://u:secret${"x".repeat(250)}@h:1`,
      '"socks5://…@h:1" has a user name or password of more than 255 bytes, which SOCKS5 does not allow'
    ],
    ["u:secret@", `"…@" is not a proxy; ${expected}`],
    ["http:/u:secret@h:x", `"…@h…" is not a proxy; ${expected}`],
    ["http://u:secret", `"http://u…" is not a proxy; ${expected}`]
  ] as const) {
    it(`${text.slice(0, 30)} is refused, and no password is shown`, () => {
      const parsed = parseProxy(text)
      assert.strictEqual(Result.isFailure(parsed) ? parsed.failure : "accepted", message)
      assert.notInclude(message, "secret")
    })
  }

  it("does not show its password when it is logged", () => {
    const parsed = Result.getOrThrow(parseProxy("http://u:secret@h:1"))
    assert.notInclude(JSON.stringify(parsed), "secret")
    assert.notInclude(String(parsed.credentials?.password), "secret")
  })
})
