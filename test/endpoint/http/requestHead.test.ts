import type { IncomingMessage } from "node:http"
import { assert, describe, it } from "vitest"
import { below, endToEnd, refusalOf, targetOf, upgradeOf } from "../../../src/endpoint/http/requestHead.ts"

const request = (rawHeaders: Array<string>, more: Partial<IncomingMessage> = {}) => {
  const headers: Record<string, string> = {}
  for (let at = 0; at < rawHeaders.length; at += 2) headers[rawHeaders[at]!.toLowerCase()] = rawHeaders[at + 1]!
  const base = { method: "GET", url: "/", httpVersion: "1.1", httpVersionMajor: 1, httpVersionMinor: 1 }
  return { ...base, rawHeaders, headers, ...more } as IncomingMessage
}

describe("the head of a request", () => {
  it.each([
    [["Host", "a", "Host", "b"], 400],
    [["Host", "a/b"], 400],
    [["Host", "u@a"], 400],
    [["Host", "a", "Transfer-Encoding", "gzip, chunked"], 501],
    [["Host", "a", "X", "1", "X", "2"], 431]
  ])("is refused with %s", (lines, status) => {
    assert.strictEqual(refusalOf(request(lines), 2)?.status, status)
  })

  it.each([[["Host", "a"]], [["Host", "[::1]:80"]], [["Host", ""]], [["Host", "a", "Transfer-Encoding", "Chunked"]]])(
    "is taken with %s",
    (lines) => assert.isUndefined(refusalOf(request(lines), 2))
  )

  it("is refused when it is of no version that is spoken", () => {
    assert.strictEqual(refusalOf(request([], { httpVersionMajor: 0, httpVersionMinor: 9 }), 2)?.status, 505)
    const old = request(["Transfer-Encoding", "chunked"], { httpVersionMinor: 0 })
    assert.strictEqual(refusalOf(old, 2)?.status, 400)
  })

  it("has a path as target, or a URL of HTTP whose host counts", () => {
    const target = (url: string, method = "GET") => targetOf(request([], { url, method }))
    assert.deepStrictEqual(target("/a?b"), { path: "/a?b", host: undefined })
    assert.deepStrictEqual(target("http://h:1/a"), { path: "/a", host: "h:1" })
    assert.deepStrictEqual(target("http://h"), { path: "/", host: "h" })
    assert.deepStrictEqual(target("http://h?q"), { path: "/?q", host: "h" })
    assert.deepStrictEqual(target("*", "OPTIONS"), { path: "*", host: undefined })
    for (const url of ["*", "a", "file:///etc/passwd", "http://u@h/", "/a#b", "/a\\b", "/a\0", "http://[/", ""]) {
      assert.isUndefined(target(url), url)
    }
  })

  it("loses what belongs to its hop, and what Connection names", () => {
    const lines = [
      "A",
      "1",
      "Connection",
      "x-b , Close",
      "X-B",
      "2",
      "Keep-Alive",
      "5",
      "TE",
      "x",
      "Upgrade",
      "y",
      "c",
      "3"
    ]
    assert.deepStrictEqual(endToEnd(lines), ["A", "1", "c", "3"])
  })

  it("asks for an upgrade only without a body, and never for h2c", () => {
    assert.strictEqual(upgradeOf(request(["Upgrade", "websocket"])), "websocket")
    assert.isUndefined(upgradeOf(request(["Upgrade", "h2c"])))
    assert.isUndefined(upgradeOf(request(["Upgrade", "websocket", "Content-Length", "3"])))
    assert.isUndefined(upgradeOf(request(["Upgrade", "websocket"], { method: "POST" })))
  })

  it("goes below a base path", () => {
    assert.strictEqual(below("", "", "/a"), "/a")
    assert.strictEqual(below("/", "", "/a"), "/a")
    assert.strictEqual(below("/b/", "k=1", "/a?x"), "/b/a?k=1&x")
    assert.strictEqual(below("/b", "k=1", "/"), "/b/?k=1")
    assert.strictEqual(below("/b", "", "*"), "*")
  })
})
