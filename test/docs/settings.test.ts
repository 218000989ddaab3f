/** The settings that the documentation shows are settings. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import type { ConfigReason } from "../../src/config/ConfigError.ts"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { tokenRules } from "../../src/config/TokenRules.ts"
import { folder } from "../config/golden.ts"
import { blocks, DOCUMENTS } from "./documents.ts"

const texts = (document: string, language: string) =>
  blocks(document)
    .filter((block) => block.language === language)
    .map(({ text }) => text)
const load = (document: string, text: string) =>
  Result.getOrThrowWith(parseFile(document, text), (reasons) => new Error(reasons.map(String).join("\n")))

const ACCESS = "docs/access.md"

describe("the settings that the documentation shows", () => {
  for (const document of DOCUMENTS) {
    for (const [index, text] of texts(document, "toml").entries()) {
      it(`are known: ${document}, block ${index + 1}`, () => {
        load(document, text)
      })
    }
  }

  it.effect("about access are complete, but for the files that they name", () =>
    Effect.gen(function* () {
      const missing: Array<ConfigReason["_tag"]> = []
      for (const text of texts(ACCESS, "toml")) {
        const source = load(ACCESS, text)
        const config: Effect.Effect<unknown, { readonly reasons: ReadonlyArray<ConfigReason> }> =
          source.tables.server === undefined ? controlConfig([source]) : serverConfig([source])
        const checked = yield* Effect.result(config)
        if (Result.isFailure(checked)) missing.push(...checked.failure.reasons.map(({ _tag }) => _tag))
      }
      assert.deepEqual(missing, ["FileMissing"])
    }).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({})))
  )

  it.effect("about tokens in a file are three rules", () =>
    Effect.gen(function* () {
      const [text] = texts(ACCESS, "text")
      const file = join(yield* folder({ tokens: text! }), "tokens")
      const place = { key: "server.tokens", origin: () => "" }
      const rules = yield* tokenRules({
        of: "clients",
        place,
        filePlace: place,
        file,
        literals: [],
        restrictionPlace: place,
        restrictions: []
      })
      assert.deepEqual(
        rules.map(({ name }) => name),
        ["office", "anna", "ci"]
      )
    })
  )
})
