import { assert, describe, it } from "vitest"
import { lineOf } from "../../src/config/lineOf.ts"

const TEXT = `log-level = "info"
[client]
Token = "x"
destinations = { a = { url = "tcp://:1" } }
relay-encryptions = [
  "tls",
  "dhxcp"
]

[client.sources."my web"]
url = "tcp://:2"

[[server.ingress]]
addr = ":1"

[[server.ingress]]
# nothing about an address
cert-file = "a.crt"
`

describe("the line of a setting", () => {
  it.each([
    ["log-level", 1],
    ["client.token", 3],
    ["client.destinations.a.url", 4],
    ["client.relay-encryptions.1", 7],
    ["client.sources.my web.url", 11],
    ["client.sources", 10],
    ["server.ingress", 13],
    ["server.ingress.0.addr", 14],
    ["server.ingress.1.cert-file", 18]
  ])("%s is %i", (path, line) => assert.strictEqual(lineOf(TEXT, path.split(".")), line))

  it("is that of the table around it, when it is not there", () => {
    assert.strictEqual(lineOf(TEXT, ["client", "sources", "my web", "route"]), 10)
    assert.strictEqual(lineOf(TEXT, ["server", "ingress", 1, "addr"]), 16)
  })

  it("is none without such a table, and in what is not TOML", () => {
    assert.isUndefined(lineOf(TEXT, ["relay", "token"]))
    assert.isUndefined(lineOf("[client\n", ["client"]))
  })
})
