import { createPrivateKey, generateKeyPairSync } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock, TestConsole } from "effect/testing"
import { loadAuthorities, loadIdentity } from "../../src/certs/load.ts"

const golden = JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", "certs.json"), "utf8")) as {
  certs: ReadonlyArray<{ name: string; der: string; cert_pem: string; key_pem: string }>
}
const named = (name: string) => golden.certs.find((it) => it.name === name)!

/** A folder that holds these files and goes away with the test. */
const folder = (files: Record<string, string>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const path = mkdtempSync(join(tmpdir(), "connet-load-"))
      for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text)
      return path
    }),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

const server = named("server-a")
const root = named("root-a")
const other = named("server-relay")

describe("load", () => {
  it.effect("a certificate and its key make an identity", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(new Date("2027-01-01T00:00:00Z").getTime())
      const path = yield* folder({ "server.crt": server.cert_pem, "server.key": server.key_pem })
      const identity = yield* loadIdentity(join(path, "server.crt"), join(path, "server.key"))
      assert.strictEqual(identity.leaf.raw.toString("hex"), server.der)
      assert.strictEqual(identity.certificatePem, server.cert_pem)
      assert.strictEqual(Redacted.value(identity.privateKeyPem), server.key_pem)
      assert.notInclude(JSON.stringify(identity), "PRIVATE KEY")
      assert.deepStrictEqual(yield* TestConsole.logLines, [])
    })
  )

  it.effect("issuers behind the certificate are kept, text around the blocks is not", () =>
    Effect.gen(function* () {
      const chain = `subject=connet - server\r\n${server.cert_pem}\nissuer:\n${root.cert_pem}trailing`
      const path = yield* folder({ "chain.pem": chain, "server.key": server.key_pem })
      const identity = yield* loadIdentity(join(path, "chain.pem"), join(path, "server.key"))
      assert.strictEqual(identity.certificatePem, server.cert_pem + root.cert_pem)
    })
  )

  it.effect("one file may hold certificate and key", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "both.pem": server.key_pem + server.cert_pem })
      const identity = yield* loadIdentity(join(path, "both.pem"), join(path, "both.pem"))
      assert.strictEqual(identity.leaf.raw.toString("hex"), server.der)
    })
  )

  it.effect("a certificate that is over loads with a warning", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(new Date("2030-01-01T00:00:00Z").getTime())
      const path = yield* folder({ "server.crt": server.cert_pem, "server.key": server.key_pem })
      yield* loadIdentity(join(path, "server.crt"), join(path, "server.key"))
      assert.match(String(yield* TestConsole.logLines), /certificate is not valid now/)
    })
  )

  const encrypted = createPrivateKey(server.key_pem)
    .export({ type: "pkcs8", format: "pem", cipher: "aes-128-cbc", passphrase: "secret" })
    .toString()
  const traditional = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey
  const traditionalEncrypted = traditional
    .export({ type: "sec1", format: "pem", cipher: "aes-128-cbc", passphrase: "secret" })
    .toString()
  const cut = (pem: string) => pem.replace(/\n.{20}/, "\n")

  for (const [what, files, tag, says] of [
    ["a missing certificate file", { key: server.key_pem }, "FileMissing", "/crt"],
    ["a missing key file", { crt: server.cert_pem }, "FileMissing", "/key"],
    ["a file without a certificate", { crt: "hello", key: server.key_pem }, "CertificateAbsent", "BEGIN CERTIFICATE"],
    ["swapped files", { crt: server.key_pem, key: server.cert_pem }, "CertificateAbsent", "swapped"],
    ["a damaged certificate", { crt: cut(server.cert_pem), key: server.key_pem }, "CertificateMalformed", "1 in"],
    ["a key file without a key", { crt: server.cert_pem, key: "" }, "KeyAbsent", "BEGIN PRIVATE KEY"],
    ["a key file with a certificate", { crt: server.cert_pem, key: root.cert_pem }, "KeyAbsent", "swapped"],
    ["an encrypted key", { crt: server.cert_pem, key: encrypted }, "KeyEncrypted", "openssl pkey"],
    [
      "an encrypted key of the old form",
      { crt: server.cert_pem, key: traditionalEncrypted },
      "KeyEncrypted",
      "decrypt"
    ],
    ["a damaged key", { crt: server.cert_pem, key: cut(server.key_pem) }, "KeyMalformed", "/key"],
    ["the key of another certificate", { crt: server.cert_pem, key: other.key_pem }, "KeyMismatch", "does not belong"],
    [
      "a chain in the wrong order",
      { crt: root.cert_pem + server.cert_pem, key: server.key_pem },
      "KeyMismatch",
      "own certificate first"
    ]
  ] as const) {
    it.effect(`${what} is refused with words that name the file`, () =>
      Effect.gen(function* () {
        const path = yield* folder(files)
        const error = yield* Effect.flip(loadIdentity(join(path, "crt"), join(path, "key")))
        assert.strictEqual(error.reason._tag, tag)
        assert.include(error.message, path)
        assert.include(error.message, says)
        assert.notInclude(error.message, "\n")
      })
    )
  }

  it.effect("a folder instead of a file is refused", () =>
    Effect.gen(function* () {
      const path = yield* folder({})
      mkdirSync(join(path, "crt"))
      const error = yield* Effect.flip(loadAuthorities(join(path, "crt")))
      assert.strictEqual(error.message, `cannot read ${join(path, "crt")}: it is a folder; name a file in it`)
    })
  )

  it.effect("an unencrypted key of the old form is accepted", () =>
    Effect.gen(function* () {
      const pem = traditional.export({ type: "sec1", format: "pem" }).toString()
      const path = yield* folder({ crt: server.cert_pem, key: pem })
      const error = yield* Effect.flip(loadIdentity(join(path, "crt"), join(path, "key")))
      // It parses, and is found not to be this certificate's.
      assert.strictEqual(error.reason._tag, "KeyMismatch")
    })
  )

  it.effect("a bundle of roots loads as a list", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "cas.pem": `# ours\n${root.cert_pem}\n# theirs\n${named("root-b").cert_pem}` })
      assert.deepStrictEqual(yield* loadAuthorities(join(path, "cas.pem")), [root.cert_pem, named("root-b").cert_pem])
    })
  )
})
