/** Help fits on a screen, the manual leaves nothing out, and the page for man is that of these commands. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { formatHelp } from "../../src/cli/help.ts"
import { connet } from "../../src/cli/main.ts"
import { documents, page } from "../../src/cli/manual.ts"

const COLUMNS = 80
const ROWS = 40

describe("help", () => {
  it.effect("of every command fits on a screen, and shows an example", () =>
    Effect.gen(function* () {
      const docs = yield* documents(connet)
      assert.isAbove(docs.length, 10)
      for (const doc of docs) {
        const command = doc.commandPath!.join(" ")
        const lines = formatHelp(doc, "brief").split("\n")
        assert.isAtMost(lines.length, ROWS, command)
        for (const line of lines) assert.isAtMost(line.length, COLUMNS, `${command}: ${line}`)
        assert.include(lines, "Examples:", command)
        for (const { command: example } of doc.examples!) assert.include(example, command.split(" ")[0]!)
      }
    })
  )

  it.effect("names every flag; the manual and the page for man explain each", () =>
    Effect.gen(function* () {
      const docs = yield* documents(connet)
      const roff = page(docs).replaceAll("\\-", "-")
      for (const doc of docs) {
        const [brief, full] = [formatHelp(doc, "brief"), formatHelp(doc, "full")]
        for (const { name, type } of doc.flags) {
          assert.include(brief, `--${name}`)
          assert.match(full, new RegExp(`^ +--${name}( |$)`, "m"), `of ${doc.commandPath!.join(" ")}`)
          assert.include(roff, type === "boolean" ? `.B --${name}\n` : `.B --${name} ${type}\n`)
        }
      }
      assert.isAbove(docs.flatMap(({ flags }) => flags).length, 60)
    })
  )

  it.effect("as a page for man stands in docs/connet.1; npm run man writes it", () =>
    Effect.gen(function* () {
      const kept = readFileSync(join(import.meta.dirname, "..", "..", "docs", "connet.1"), "utf8")
      assert.strictEqual(kept, `${page(yield* documents(connet))}\n`)
    })
  )
})
