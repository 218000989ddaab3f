/** The settings that the documentation shows are settings. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import type { ConfigReason } from "../../src/config/ConfigError.ts"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { tokenRules } from "../../src/config/TokenRules.ts"
import { folder } from "../config/golden.ts"

const DOCS = join(import.meta.dirname, "..", "..", "docs")
const blocks = (document: string, language: string) =>
  [...readFileSync(join(DOCS, document), "utf8").matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms"))].map(
    ([, text]) => text!
  )
const load = (document: string, text: string) =>
  Result.getOrThrowWith(parseFile(document, text), (reasons) => new Error(reasons.map(String).join("\n")))

describe("the settings that the documentation shows", () => {
  for (const document of readdirSync(DOCS).filter((file) => file.endsWith(".md"))) {
    for (const [index, text] of blocks(document, "toml").entries()) {
      it(`are known: ${document}, block ${index + 1}`, () => {
        load(document, text)
      })
    }
  }

  it.effect("about access are complete, but for the files that they name", () =>
    Effect.gen(function* () {
      const missing: Array<ConfigReason["_tag"]> = []
      for (const text of blocks("access.md", "toml")) {
        const source = load("access.md", text)
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
      const [text] = blocks("access.md", "text")
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
