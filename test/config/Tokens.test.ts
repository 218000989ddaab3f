import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { clientToken, relayToken } from "../../src/config/Tokens.ts"
import { folder, golden } from "./golden.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

describe("tokens", () => {
  for (const { text, tokens, client_or_relay_use } of golden.token_files) {
    const expected = tokens.map((token) => token.trim()).filter((token) => token !== "" && !token.startsWith("#"))
    it.effect(`a file of ${JSON.stringify(text)} holds the token ${JSON.stringify(expected[0])}`, () =>
      Effect.gen(function* () {
        const file = join(yield* folder({ tok: text }), "tok")
        const shown = yield* Effect.result(clientToken({ file, literal: "", origin: () => "" }))
        assert.strictEqual(Result.isSuccess(shown) ? Redacted.value(shown.success) : undefined, expected[0])
        const ofRelay = yield* Effect.result(relayToken({ file, literal: "", origin: () => "" }))
        assert.strictEqual(Result.isSuccess(ofRelay) ? Redacted.value(ofRelay.success) : undefined, expected[0])
        const comment = client_or_relay_use.startsWith("#")
        if (client_or_relay_use.trim() !== "" && expected.length > 0 && !comment) {
          assert.strictEqual(expected[0], tokens[0]?.trim())
        }
      }).pipe(noEnvironment)
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
