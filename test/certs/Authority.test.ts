import { createPrivateKey, X509Certificate } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { makeAuthority, type ServerNames } from "../../src/certs/Authority.ts"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import { issueClient, issueServer } from "../../src/certs/issue.ts"
import { realmName } from "../../src/certs/realmName.ts"

interface Golden {
  readonly name: string
  readonly der: string
  readonly cert_pem: string
  readonly certificate_key: string
  readonly dns_names: ReadonlyArray<string>
  readonly ip_addresses: ReadonlyArray<string>
}

const fixture = (name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", name), "utf8")) as {
    certs: ReadonlyArray<Golden>
    domain_names: ReadonlyArray<{ realm: "connet.peer"; random: string; name: string }>
  }

const golden = fixture("certs.json").certs
const named = (name: string) => Buffer.from(golden.find((it) => it.name === name)!.der, "hex")

/** A DER value as its tags and contents, octet strings opened where they hold DER, with what differs by chance masked. */
const outline = (der: Uint8Array, depth = 0): ReadonlyArray<string> => {
  const lines: Array<string> = []
  let at = 0
  while (at < der.length) {
    const tag = der[at]!
    let length = der[at + 1]!
    let header = 2
    if (length > 127) {
      header += length & 127
      length = Number.parseInt(Buffer.from(der.subarray(at + 2, at + header)).toString("hex"), 16)
    }
    const content = der.subarray(at + header, at + header + length)
    const line = `${"  ".repeat(depth)}${tag.toString(16)}`
    if ((tag & 0x20) !== 0) lines.push(line, ...outline(content, depth + 1))
    else lines.push(`${line} ${MASKED.has(tag) || content.length > 12 ? shape(tag, content) : hex(content)}`)
    at += header + length
  }
  return lines
}
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
/**
 * Times keep their length (UTCTime has 13, GeneralizedTime 15 characters); serials, keys, key ids are random, and a
 * serial that happens to begin with zeros is shorter.
 */
const shape = (tag: number, content: Uint8Array) => {
  if (tag === 0x02) return "serial"
  if (tag === 0x17 || tag === 0x18) return `time of ${content.length}`
  if (tag === 0x13 || tag === 0x82) return Buffer.from(content).toString()
  if (tag === 0x87) return hex(content)
  return tag === 0x04 && content[0] === 0x30 && content[2] === 0x80
    ? "authority key id"
    : tag === 0x04 && content.length > 22
      ? hex(content)
      : `${content.length} bytes`
}
const MASKED = new Set([0x17, 0x18])

describe("Authority", () => {
  it.effect("a root has upstream's fields and extensions in upstream's order", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(NOW)
      const authority = yield* makeAuthority()
      assert.deepStrictEqual(outline(new X509Certificate(authority.certificatePem).raw), outline(named("root-a")))
    })
  )

  for (const { name, dns_names, ip_addresses, der } of golden.filter((it) => it.name.startsWith("server-"))) {
    it.effect(`the server leaf ${name} has upstream's fields and extensions in upstream's order`, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(NOW)
        const { leaf } = yield* issueServer([...dns_names, ...ip_addresses] as unknown as ServerNames)
        assert.deepStrictEqual(outline(leaf.raw), outline(Buffer.from(der, "hex")))
      })
    )
  }

  it.effect("a client leaf has upstream's fields, and its subject is its issuer's name", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(NOW)
      const { leaf } = yield* issueClient
      assert.deepStrictEqual(outline(leaf.raw), outline(named("client-a")))
      assert.strictEqual(leaf.subject, leaf.issuer)
    })
  )

  it.effect("what is issued is valid from an hour ago, leaves for two years and roots for a hundred", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(NOW)
      const authority = yield* makeAuthority()
      const root = new X509Certificate(authority.certificatePem)
      const { leaf } = yield* authority.issueClient()
      for (const certificate of [root, leaf]) {
        assert.strictEqual(certificate.validFromDate.toISOString(), "2026-11-23T07:25:12.000Z")
      }
      assert.strictEqual(root.validToDate.toISOString(), "2126-11-23T08:25:12.000Z")
      assert.strictEqual(leaf.validToDate.toISOString(), "2028-11-23T08:25:12.000Z")
    })
  )

  it.effect("a leaf is signed by its root, comes with its key, and no two are alike", () =>
    Effect.gen(function* () {
      const authority = yield* makeAuthority()
      const root = new X509Certificate(authority.certificatePem)
      const first = yield* authority.issueServer(["one.example.test"])
      const second = yield* authority.issueServer(["one.example.test"])
      for (const { leaf, certificatePem, privateKeyPem } of [first, second]) {
        assert.isTrue(leaf.checkIssued(root) && leaf.verify(root.publicKey))
        assert.isTrue(leaf.checkPrivateKey(createPrivateKey(Redacted.value(privateKeyPem))))
        assert.strictEqual(new X509Certificate(certificatePem).fingerprint256, leaf.fingerprint256)
        assert.strictEqual(leaf.checkHost("one.example.test"), "one.example.test")
      }
      assert.notStrictEqual(first.leaf.serialNumber, second.leaf.serialNumber)
      assert.notStrictEqual(first.leaf.fingerprint256, second.leaf.fingerprint256)
    })
  )

  it.effect("a validity that was asked for is kept", () =>
    Effect.gen(function* () {
      const authority = yield* makeAuthority()
      const validity = { notBefore: new Date("2020-01-01T00:00:00Z"), notAfter: new Date("2020-02-01T00:00:00Z") }
      const { leaf } = yield* authority.issueServer(["old.example.test"], validity)
      assert.deepStrictEqual([leaf.validFromDate, leaf.validToDate], [validity.notBefore, validity.notAfter])
    })
  )

  it("certificates are keyed by the hash of their DER as upstream does", () => {
    for (const { der, certificate_key } of golden) {
      assert.strictEqual(certificateKey(Buffer.from(der, "hex")), certificate_key)
    }
  })

  it("made-up names spell their random bytes", () => {
    for (const { realm, random, name } of fixture("realmNames.json").domain_names) {
      assert.strictEqual(realmName(realm, Buffer.from(random, "hex")), name)
    }
    assert.match(realmName("connet.peer"), /^[0-9a-v]{52}\.connet\.peer\.invalid$/)
    assert.notStrictEqual(realmName("connet.peer"), realmName("connet.peer"))
  })
})

const NOW = new Date("2026-11-23T08:25:12Z").getTime()
