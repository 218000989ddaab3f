import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { unmapped } from "../../../src/domain/SocketAddress.ts"
import { parseProxyHeader } from "../../../src/endpoint/destination/parseProxyHeader.ts"
import { proxyHeader } from "../../../src/endpoint/source/proxyHeader.ts"
import type { TlsFacts } from "../../../src/endpoint/source/User.ts"

interface ReadAddress {
  readonly kind: "tcp" | "udp"
  readonly ip: string
  readonly port: number
}

interface Header {
  readonly note: string
  readonly version: "v1" | "v2"
  readonly ok: boolean
  readonly bytes: string
  readonly read_back: { readonly source: ReadAddress | null; readonly destination: ReadAddress | null }
}

const FIXTURE = join(import.meta.dirname, "..", "..", "fixtures", "proxyproto.json")
const { headers } = JSON.parse(readFileSync(FIXTURE, "utf8")) as { readonly headers: ReadonlyArray<Header> }
const written = headers.filter(({ ok, version }) => ok && version === "v2")

const end = (of: ReadAddress | null) =>
  of === null ? { _tag: "unknown" } : { _tag: of.kind, host: unmapped(of.ip), port: of.port }

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex")
const SIGNATURE = "0d0a0d0a000d0a515549540a"
const ADDRESSES = "c000020a c6336414 c738 01bb"

describe("a PROXY header that a source wrote", () => {
  for (const { note, bytes, read_back } of written) {
    it(`is understood as upstream understands it: ${note}`, () => {
      const header = Buffer.concat([hex(bytes), Buffer.from("GET / HTTP/1.1\r\n")])
      const [source, destination] = [end(read_back.source), end(read_back.destination)]
      const expected = { _tag: "Found", length: bytes.length / 2, source, destination, secure: false }
      assert.deepStrictEqual(parseProxyHeader(header), expected as never)
    })
  }

  it("is waited for until its last byte", () => {
    for (const { bytes } of written) {
      const header = hex(bytes)
      for (let length = 0; length < header.length; length++) {
        assert.deepStrictEqual(parseProxyHeader(header.subarray(0, length)), { _tag: "Partial" })
      }
    }
  })

  it("tells of TLS, also for a user without address, and of the paths of a Unix socket", () => {
    const tls: TlsFacts = { version: "TLSv1.3", cipher: "c", serverName: "s", protocol: "h2", certificate: undefined }
    const unknown = { _tag: "unknown" } as const
    assert.deepInclude(parseProxyHeader(proxyHeader("v2", { source: unknown, destination: unknown, tls })), {
      source: unknown,
      secure: true
    })
    const source = { _tag: "tcp", host: "2001:db8::1", port: 1 } as const
    assert.deepInclude(parseProxyHeader(proxyHeader("v2", { source, destination: { ...source, port: 2 }, tls })), {
      source,
      secure: true
    })
    const [user, own] = [{ _tag: "unix", path: "" } as const, { _tag: "unix", path: "/run/a.sock" } as const]
    assert.deepInclude(parseProxyHeader(proxyHeader("v2", { source: user, destination: own, tls: undefined })), {
      source: user,
      destination: own,
      secure: false
    })
  })

  it("has whatever else it says left alone, when it is for a connection of the proxy itself", () => {
    const header = hex(`${SIGNATURE} 20 11 000c ${ADDRESSES}`)
    const unknown = { _tag: "unknown" } as const
    const expected = { _tag: "Found", length: 28, source: unknown, destination: unknown, secure: false } as const
    assert.deepStrictEqual(parseProxyHeader(header), expected)
  })
})

describe("what is no PROXY header", () => {
  for (const text of [
    "GET / HTTP/1.1\r\n",
    "\r\n\r\nGET",
    "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "\r\n\r\n\0\r\nQUIx"
  ]) {
    it(`is none as soon as that can be seen: ${JSON.stringify(text)}`, () => {
      assert.deepStrictEqual(parseProxyHeader(Buffer.from(text, "latin1")), { _tag: "Absent" })
    })
  }

  const broken: Record<string, string> = {
    "another version": `11 11 000c ${ADDRESSES}`,
    "an unknown command": `22 11 000c ${ADDRESSES}`,
    "an unknown family": `21 41 000c ${ADDRESSES}`,
    "an unknown transport": `21 13 000c ${ADDRESSES}`,
    "a family without transport": `21 10 000c ${ADDRESSES}`,
    "addresses that are cut short": `21 11 000b ${ADDRESSES}`,
    "IPv6 in the space of IPv4": `21 21 000c ${ADDRESSES}`,
    "a path that is cut short": `21 31 000c ${ADDRESSES}`,
    "a length that nobody needs": "21 11 ffff",
    "half the head of an extra": `21 11 000e ${ADDRESSES} 2000`,
    "an extra that is cut short": `21 11 0010 ${ADDRESSES} 200002 01`
  }
  for (const [name, rest] of Object.entries(broken)) {
    it(`is refused behind the signature: ${name}`, () => {
      assert.deepInclude(parseProxyHeader(hex(SIGNATURE + rest)), { _tag: "Malformed" })
    })
  }
})
