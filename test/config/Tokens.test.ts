import { createHash } from "node:crypto"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { clientToken, relayToken, serverTokens } from "../../src/config/Tokens.ts"
import { folder, golden } from "./golden.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

describe("tokens", () => {
  for (const { text, tokens, client_or_relay_use } of golden.token_files) {
    const expected = tokens.map((token) => token.trim()).filter((token) => token !== "")
    it.effect(`a file of ${JSON.stringify(text)} holds ${JSON.stringify(expected)}`, () =>
      Effect.gen(function* () {
        const file = join(yield* folder({ tok: text }), "tok")
        const accepted = yield* serverTokens({ key: "server.tokens", file, literals: [], origin: "" })
        assert.deepStrictEqual(accepted.map(Redacted.value), expected)
        const shown = yield* Effect.result(clientToken({ file, literal: "", origin: "" }))
        assert.strictEqual(Result.isSuccess(shown) ? Redacted.value(shown.success) : undefined, expected[0])
        const ofRelay = yield* Effect.result(relayToken({ file, literal: "", origin: "" }))
        assert.strictEqual(Result.isSuccess(ofRelay) ? Redacted.value(ofRelay.success) : undefined, expected[0])
        if (client_or_relay_use.trim() !== "" && expected.length > 0) assert.strictEqual(expected[0], tokens[0]?.trim())
      }).pipe(noEnvironment)
    )
  }

  const hash = createHash("sha256").update("secret-token").digest("hex")

  it.effect("a file may hold hashes of tokens", () =>
    Effect.gen(function* () {
      const file = join(yield* folder({ tok: `sha256:${hash}\nplain\n` }), "tok")
      const accepted = yield* serverTokens({ key: "server.tokens", file, literals: [], origin: "" })
      assert.deepStrictEqual(accepted.map(Redacted.value), [`sha256:${hash}`, "plain"])
    })
  )

  for (const [what, tokens, says] of [
    ["a token that is there twice", ["secret-token", "b", " secret-token "], "token 3 is the same as token 1"],
    ["an empty token", ["secret-token", "  "], "token 2 is empty"],
    ["a hash that is cut off", [`sha256:${hash.slice(1)}`], "token 1 is not the SHA-256 hash"],
    ["a token that no first message could carry", ["secret-token".repeat(6_000)], "token 1 has more than 60000 bytes"]
  ] as const) {
    it.effect(`${what} is refused, without showing it`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(
          serverTokens({ key: "server.tokens", file: "", literals: tokens, origin: "a.toml" })
        )
        assert.include(error.message, says)
        assert.include(error.message, "a.toml: server.tokens: ")
        assert.notInclude(error.message, "secret-token")
        assert.notInclude(error.message, hash.slice(1))
      })
    )
  }

  it.effect("the environment's token stands in for an absent one, trimmed", () =>
    Effect.gen(function* () {
      const { token } = yield* clientConfig([])
      assert.strictEqual(Redacted.value(token), "from-env")
      assert.notInclude(String(token) + JSON.stringify(token), "from-env")
    }).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ CONNET_TOKEN: " from-env\n" }))
    )
  )
})
