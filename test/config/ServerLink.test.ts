import { Redacted, Result } from "effect"
import { assert, describe, it } from "vitest"
import { formatServerLink, parseServerLink } from "../../src/config/ServerLink.ts"

const PIN = "0af2e3d76c3a30f59ec8fe92270c84b4dacc84b85e237c7fee9e80b202d723d6"

const parsed = (text: string) =>
  Result.map(parseServerLink(text), ({ server, token, pin }) => ({
    server,
    token: token && Redacted.value(token),
    pin
  }))

describe("the link to a server", () => {
  it("is read as it is written", () => {
    for (const [token, host] of [
      ["plain", "connet.example"],
      ["with/@:?#% signs", "192.0.2.7"],
      ["t", "2001:db8::7"]
    ] as const) {
      const text = formatServerLink(Redacted.make(token), { host, port: 443 }, PIN)
      assert.deepEqual(Result.getOrThrow(parsed(text)), { server: { host, port: 443 }, token, pin: PIN })
    }
  })

  it.each([
    [`connet://t@h?pin=${PIN}`, { server: { host: "h", port: 19_190 }, token: "t", pin: PIN }],
    ["connet://h:1", { server: { host: "h", port: 1 }, token: undefined, pin: undefined }],
    [
      `connet://t@h:1/?pin=${PIN.toUpperCase().replaceAll(/..(?=.)/g, "$&:")}`,
      { server: { host: "h", port: 1 }, token: "t", pin: PIN }
    ]
  ])("may be %s", (text, link) => assert.deepEqual(Result.getOrThrow(parsed(text)), link))

  it.each([
    ["https://secret@h:1", "the link is not one; write connet://token@host:port?pin=sha256"],
    ["connet://sec/ret@h:1", "the link is not one; write connet://token@host:port?pin=sha256"],
    ["connet://secret@h:x", 'the link has no server: "x" is not a port; ports are 0 to 65535'],
    ["connet://secret@h:1?pin=abc", '"abc" is not a pin; write the 64 hexadecimal letters that the server prints'],
    [`connet://secret@h:1?pin=${PIN}&pin=${PIN}`, "the link has more than one pin; keep one"],
    [
      "connet://secret@h:1?pni=abc",
      'the link has a "pni", which means nothing; write connet://token@host:port?pin=sha256'
    ],
    ["connet://secret%@h:1", 'the link has a "%" in its token that encodes nothing; write %25 for the sign itself']
  ])("%s is refused, and its token not shown", (text, message) => {
    assert.strictEqual(Result.getOrThrow(Result.flip(parsed(text))), message)
    assert.notInclude(message, "secret")
  })
})
