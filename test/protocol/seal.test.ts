import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import { EndpointName } from "../../src/domain/EndpointName.ts"
import { openAuthentication, sealAuthentication } from "../../src/protocol/RelayControl.ts"
import { makeBoxKey, seal, unseal } from "../../src/protocol/seal.ts"

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"))
const { sessions, sealed, open } = fixture("seal.json").client_authentication
const clientA = fixture("certs.json").certs.find(({ name }: { name: string }) => name === "client-a")

const hex = (text: string) => Buffer.from(text, "hex")
const toHex = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes).toString("hex")
const keyOf = (name: string) => {
  const session = sessions.find((session: { name: string }) => session.name === name)
  return session && hex(session.shared_key)
}
const isEndpointName = Schema.is(EndpointName)
const ROLES = [undefined, "destination", "source"] as const

describe("seal", () => {
  for (const { name, control_secret, control_public, relay_secret, relay_public, shared_key } of sessions) {
    it(`both sides of a box share upstream's key: session ${name}`, () => {
      const [control, relay] = [makeBoxKey(hex(control_secret)), makeBoxKey(hex(relay_secret))]
      assert.deepStrictEqual(
        [control, relay].map(({ publicKey }) => toHex(publicKey)),
        [control_public, relay_public]
      )
      assert.strictEqual(toHex(control.sharedWith(relay.publicKey)), shared_key)
      assert.strictEqual(toHex(relay.sharedWith(control.publicKey)), shared_key)
    })
  }

  it("two keys made at random share one, and no key is shared with what is none", () => {
    const [a, b] = [makeBoxKey(), makeBoxKey()]
    assert.strictEqual(toHex(a.sharedWith(b.publicKey)), toHex(b.sharedWith(a.publicKey)))
    assert.notStrictEqual(toHex(a.publicKey), toHex(b.publicKey))
    for (const bad of [Buffer.alloc(32), Buffer.alloc(31, 9), Buffer.alloc(33, 9), Buffer.alloc(0)]) {
      assert.isUndefined(a.sharedWith(bad))
    }
  })

  for (const { session, endpoint, role, certificate_key, nonce, plaintext, blob } of sealed) {
    const name = `${endpoint.slice(0, 20)} as ${ROLES[role]} in session ${session}`
    it(`a client's authentication is sealed as upstream seals it: ${name}`, () => {
      assert.strictEqual(toHex(seal(keyOf(session), hex(plaintext), hex(nonce))), blob)
      assert.strictEqual(toHex(unseal(keyOf(session), hex(blob))), plaintext)
      const client = { endpoint, role: ROLES[role]!, certificateKey: certificate_key }
      // Upstream seals for endpoints without a name or role, and for names that nobody can announce here.
      const usable = isEndpointName(endpoint) && client.role !== undefined
      assert.deepStrictEqual(openAuthentication(keyOf(session), hex(blob)), usable ? client : undefined)
      if (usable) assert.strictEqual(toHex(sealAuthentication(keyOf(session), client, hex(nonce))), blob)
    })
  }

  for (const { note, session, blob, presented_certificate, ok, endpoint, role } of open) {
    if (session === "") continue
    it(`a blob is ${ok ? "opened" : "refused"}: ${note}`, () => {
      const shown = presented_certificate === "client-a" ? certificateKey(hex(clientA.der)) : "another"
      const client = openAuthentication(keyOf(session), hex(blob))
      const entered = client?.certificateKey === shown ? client : undefined
      assert.deepStrictEqual(entered, ok ? { endpoint, role, certificateKey: shown } : undefined)
    })
  }

  it("a blob that was changed or cut anywhere is refused", () => {
    const [{ session, blob }] = sealed
    for (let at = 0; at < hex(blob).length; at++) {
      const changed = hex(blob)
      changed[at]! ^= 1
      assert.isUndefined(unseal(keyOf(session), changed))
      assert.isUndefined(unseal(keyOf(session), hex(blob).subarray(0, at)))
    }
  })
})
