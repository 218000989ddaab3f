import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parseDestinationUrl, parseSourceUrl } from "../../src/config/parseEndpointUrl.ts"
import { type EndpointUrl, format } from "../../src/domain/EndpointUrl.ts"

const http = { host: "h", port: 80, authority: "h", basePath: "", query: "" }

describe("the URL of a destination", () => {
  for (const [text, expected] of [
    ["tcp://h:1", { _tag: "tcp", host: "h", port: 1 }],
    ["TLS://[::1]:443", { _tag: "tls", host: "::1", port: 443 }],
    ["tcp://:22", { _tag: "tcp", host: "localhost", port: 22 }],
    ["unix:/run/app.sock", { _tag: "unix", path: "/run/app.sock" }],
    ["unix:///run/app.sock", { _tag: "unix", path: "/run/app.sock" }],
    ["unix:app.sock", { _tag: "unix", path: "app.sock" }],
    ["http://h", { _tag: "http", ...http }],
    ["http://h/", { _tag: "http", ...http, basePath: "/" }],
    ["https://h", { _tag: "https", ...http, port: 443 }],
    [
      "http://[::1]:8080/a%2Fb/?x=1",
      { _tag: "http", host: "::1", port: 8080, authority: "[::1]:8080", basePath: "/a%2Fb/", query: "x=1" }
    ],
    ["http://h?x", { _tag: "http", ...http, query: "x" }],
    ["http://h/a/../b", { _tag: "http", ...http, basePath: "/b" }],
    ["http://h/ü", { _tag: "http", ...http, basePath: "/%C3%BC" }],
    ["file:.", { _tag: "file", root: "." }],
    ["file:", { _tag: "file", root: "." }],
    ["file:100%", { _tag: "file", root: "100%" }],
    ["file:/srv/my%20files", { _tag: "file", root: "/srv/my files" }],
    ["file:///srv", { _tag: "file", root: "/srv" }],
    ["file://localhost/srv", { _tag: "file", root: "/srv" }]
  ] as const) {
    it(`${text} is read`, () => {
      assert.deepStrictEqual(parseDestinationUrl(text), Result.succeed(expected))
    })
  }

  for (const [text, expected] of [
    ["", "there is none; write tcp://host:port"],
    ["h:22", '"h:22" has no scheme; write tcp://h:22'],
    ["udp://h:1", '"udp://h:1" has an unknown scheme; write one of tcp, tls, unix, http, https, file'],
    ["/srv", '"/srv" is not a URL; write tcp://host:port'],
    ["ws://h:1", "ws is not something that a destination leads to; write one of tcp, tls, unix, http, https, file"],
    ["tls://h", '"tls://h" has no port number; write tls://host:port'],
    ["tls://h:443/x", '"tls://h:443/x" has more than host and port; write tls://h:443'],
    ["tcp://h:0", '"tcp://h:0" has no port that can be dialed; ports are 1 to 65535'],
    ["tcp://h:99999", '"99999" is not a port; ports are 0 to 65535'],
    ["tcp://me@h:1", '"tcp://…@h:1" has a user; write tcp://host:port'],
    ["unix:", '"unix:" has no path; write unix:/path'],
    ["unix://run/x", '"unix://run/x" has a host; write unix:/path, or unix:path for a relative one'],
    ["unix:/run/", '"unix:/run/" is a folder; write unix:/path of a socket in it'],
    ["http://[::1", '"[::1" is not a host with or without port; write host, host:port or [address]:port'],
    ["http://h/%zz", '"http://h/%zz" has a "%" that encodes nothing; write %25 for the sign itself'],
    ["http://h/#a", '"http://h/#a" has a fragment, which no request carries; leave it out'],
    ["http://me:pw@h", '"http://…@h" has a user; write http://host:port/path'],
    ["file://srv/www", '"file://srv/www" has a host; write file:///path, or file:path for a relative one'],
    ["file:/%00", "the path has a NUL in it; write file:/path"]
  ] as const) {
    it(`${text || "nothing"} is refused`, () => {
      assert.deepStrictEqual(parseDestinationUrl(text), Result.fail(expected))
    })
  }

  it("is refused as a socket's path that the system would cut", () => {
    const result = parseDestinationUrl(`unix:/${"a".repeat(120)}`)
    assert.match(
      Result.isFailure(result) ? result.failure : "",
      /^the path has 121 bytes, and sockets have 10[37] at most/
    )
  })
})

describe("the URL of a source", () => {
  for (const [text, expected] of [
    ["tcp://:0", { _tag: "tcp", host: "", port: 0 }],
    ["tls://[::]:443", { _tag: "tls", host: "::", port: 443 }],
    ["unix:/run/web.sock", { _tag: "unix", path: "/run/web.sock" }],
    ["http://:8080/p", { _tag: "http", host: "", port: 8080, authority: ":8080", basePath: "/p", query: "" }],
    ["https://", { _tag: "https", host: "", port: 443, authority: "", basePath: "", query: "" }],
    ["ws://:80/p/", { _tag: "ws", host: "", port: 80, authority: ":80", path: "/p/" }],
    ["wss://h", { _tag: "wss", host: "h", port: 443, authority: "h", path: "" }]
  ] as const) {
    it(`${text} is read`, () => {
      assert.deepStrictEqual(parseSourceUrl(text), Result.succeed(expected))
    })
  }

  for (const [text, expected] of [
    ["file:.", "file is not something that a source offers; write one of tcp, tls, unix, http, https, ws, wss"],
    ["socks://:1", '"socks://:1" has an unknown scheme; write one of tcp, tls, unix, http, https, ws, wss'],
    ["ws://:1/?a", '"ws://:1/?a" has a query, which says nothing of where to listen; leave it out'],
    ["http://:1/?a", '"http://:1/?a" has a query, which says nothing of where to listen; leave it out']
  ] as const) {
    it(`${text} is refused`, () => {
      assert.deepStrictEqual(parseSourceUrl(text), Result.fail(expected))
    })
  }
})

describe("an endpoint's URL", () => {
  for (const text of ["tls://[::1]:1", "unix:/a", "http://h:1/a?b", "ws://h/x", "file:/srv", "tcp://h:1"]) {
    it(`is written as it was read: ${text}`, () => {
      const parsed: Result.Result<EndpointUrl, string> = text.startsWith("ws")
        ? parseSourceUrl(text)
        : parseDestinationUrl(text)
      assert.strictEqual(format(Result.getOrThrow(parsed)), text)
    })
  }
})
