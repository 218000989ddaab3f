import { createHash } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import { makeTokens } from "../../../src/directory/server/Tokens.ts"

const tokens = (...texts: ReadonlyArray<string>) => makeTokens(texts.map((text) => Redacted.make(text)))
const hash = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`

describe("tokens", () => {
  it("are accepted when they are one of those that are known", () => {
    const known = tokens("first", "second")
    assert.isTrue(known.accepts(Redacted.make("first")))
    assert.isTrue(known.accepts(Redacted.make("second")))
    assert.isFalse(known.accepts(Redacted.make("third")))
    assert.isFalse(known.accepts(Redacted.make("firs")))
  })

  it("may be known by their hash, which is no token itself", () => {
    const known = tokens(hash("secret"))
    assert.isTrue(known.accepts(Redacted.make("secret")))
    assert.isFalse(known.accepts(Redacted.make(hash("secret"))))
  })

  it("that are empty are never accepted", () => {
    assert.isFalse(tokens().accepts(Redacted.make("")))
    assert.isFalse(tokens("").accepts(Redacted.make("")))
  })
})
