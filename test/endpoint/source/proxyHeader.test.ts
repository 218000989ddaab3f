import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { proxyHeader } from "../../../src/endpoint/source/proxyHeader.ts"
import type { TlsFacts, UserAddress } from "../../../src/endpoint/source/User.ts"

interface Address {
  readonly kind: "tcp" | "udp" | "other"
  readonly ip: string
  readonly zone: string
  readonly port: number
}

interface Header {
  readonly note: string
  readonly version: "v1" | "v2"
  readonly source: Address | null
  readonly destination: Address | null
  readonly ok: boolean
  readonly bytes?: string
}

const FIXTURE = join(import.meta.dirname, "..", "..", "fixtures", "proxyproto.json")
const { headers } = JSON.parse(readFileSync(FIXTURE, "utf8")) as { readonly headers: ReadonlyArray<Header> }

const address = (of: Address | null): UserAddress =>
  of === null || of.kind === "other"
    ? { _tag: "unknown" }
    : { _tag: of.kind, host: of.zone ? `${of.ip}%${of.zone}` : of.ip, port: of.port }

const tcp = (host: string, port: number): UserAddress => ({ _tag: "tcp", host, port })

describe("a PROXY header", () => {
  for (const { note, version, source, destination, bytes } of headers.filter(({ ok }) => ok)) {
    it(`${version} is upstream's: ${note}`, () => {
      const header = proxyHeader(version, {
        source: address(source),
        destination: address(destination),
        tls: undefined
      })
      assert.strictEqual(header.toString("hex"), bytes)
    })
  }

  it("is written for an IPv4 user at an IPv6 end, where upstream gives up", () => {
    const [source, destination] = [tcp("192.0.2.10", 51_000), tcp("2001:db8::2", 443)]
    const facts = { source, destination, tls: undefined }
    assert.strictEqual(`${proxyHeader("v1", facts)}`, "PROXY TCP6 ::ffff:192.0.2.10 2001:db8::2 51000 443\r\n")
    assert.strictEqual(
      proxyHeader("v2", facts).subarray(12).toString("hex"),
      "2121002400000000000000000000ffffc000020a20010db8000000000000000000000002c73801bb"
    )
  })

  it("says that nothing is known where our own end has no address, where upstream gives up", () => {
    const facts = { source: tcp("192.0.2.10", 51_000), destination: tcp("", 2), tls: undefined }
    assert.strictEqual(`${proxyHeader("v1", facts)}`, "PROXY UNKNOWN\r\n")
    assert.strictEqual(proxyHeader("v2", facts).subarray(12).toString("hex"), "20000000")
  })

  it("has every other case of the fixture in one of these two", () => {
    assert.deepStrictEqual(
      [...new Set(headers.filter(({ ok }) => !ok).map(({ note }) => note))],
      [
        "mixed: v4 source, v6 destination",
        "mixed: v4-mapped source, v6 destination",
        "v4 source, tcp destination without ip"
      ]
    )
  })

  it("has the paths of a Unix socket in version 2, and nothing in version 1", () => {
    const facts = {
      source: { _tag: "unix", path: "" },
      destination: { _tag: "unix", path: "/run/web.sock" },
      tls: undefined
    } as const
    assert.strictEqual(`${proxyHeader("v1", facts)}`, "PROXY UNKNOWN\r\n")
    const header = proxyHeader("v2", facts)
    assert.strictEqual(header.subarray(12, 16).toString("hex"), "213100d8")
    assert.lengthOf(header, 16 + 216)
    assert.strictEqual(header.subarray(16, 124).toString("latin1"), "\0".repeat(108))
    assert.strictEqual(header.subarray(124).toString("latin1").replace(/\0+$/, ""), "/run/web.sock")
  })
})

describe("what TLS told", () => {
  const tls: TlsFacts = {
    version: "TLSv1.3",
    cipher: "TLS_AES_128_GCM_SHA256",
    serverName: "web.test",
    protocol: "h2",
    certificate: { commonName: "ann", shown: "connection", verified: true }
  }
  const facts = (tls: TlsFacts) => ({ source: tcp("192.0.2.10", 1), destination: tcp("192.0.2.20", 2), tls })
  /** What follows the addresses, which have 12 bytes. */
  const extras = (tls: TlsFacts) => proxyHeader("v2", facts(tls)).subarray(16 + 12)

  it("is told behind the addresses: protocol, name of the server, version, name of the user and cipher", () => {
    const text = (type: string, value: string) =>
      `${type}00${value.length.toString(16).padStart(2, "0")}${Buffer.from(value).toString("hex")}`
    const ssl = `0700000000${text("21", "TLSv1.3")}${text("22", "ann")}${text("23", "TLS_AES_128_GCM_SHA256")}`
    const length = (ssl.length / 2).toString(16).padStart(4, "0")
    assert.strictEqual(extras(tls).toString("hex"), `${text("01", "h2")}${text("02", "web.test")}20${length}${ssl}`)
    assert.strictEqual(proxyHeader("v2", facts(tls)).readUInt16BE(14), 12 + extras(tls).length)
  })

  it("says so when there is no certificate, or one of an earlier connection, or one that is not verified", () => {
    const client = (certificate: TlsFacts["certificate"]) => {
      const only = { ...tls, protocol: undefined, serverName: undefined, certificate }
      return extras(only).subarray(3, 8).toString("hex")
    }
    assert.strictEqual(client(undefined), "0100000001")
    assert.strictEqual(client({ commonName: undefined, shown: "session", verified: true }), "0500000000")
    assert.strictEqual(client({ commonName: undefined, shown: "connection", verified: false }), "0700000001")
  })

  it("leaves out a name that is too long to be one", () => {
    const certificate = { commonName: "a".repeat(70_000), shown: "connection", verified: true } as const
    assert.isBelow(extras({ ...tls, certificate }).length, 100)
  })

  it("is told also of a user without address, and never in version 1", () => {
    const unknown = { source: { _tag: "unknown" }, destination: { _tag: "unknown" }, tls } as const
    assert.strictEqual(proxyHeader("v2", unknown).subarray(12, 14).toString("hex"), "2100")
    assert.strictEqual(`${proxyHeader("v1", unknown)}`, "PROXY UNKNOWN\r\n")
    assert.strictEqual(`${proxyHeader("v1", facts(tls))}`, "PROXY TCP4 192.0.2.10 192.0.2.20 1 2\r\n")
  })
})
