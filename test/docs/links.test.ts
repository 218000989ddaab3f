/** What the documentation says about files is true: those it shows are the examples, those it links are there. */
import { existsSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, describe, it } from "vitest"
import { DOCUMENTS, ROOT, read } from "./documents.ts"

/** Headings as the anchors that they get: lower case, no punctuation, hyphens for spaces. */
const anchors = (document: string): ReadonlyArray<string> =>
  [...document.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, "")
      .replaceAll(" ", "-")
  )

describe("the documentation", () => {
  for (const name of ["server.toml", "destination.toml", "source.toml"]) {
    it(`shows ${name} as it stands in config/`, () => {
      assert.include(read("README.md"), `\`\`\`toml\n${read(join("config", name)).trimEnd()}\n\`\`\``)
    })
  }

  it("links only files and headings that exist", () => {
    const links = DOCUMENTS.flatMap((document) =>
      [...read(document).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, link]) => ({ document, link: link! }))
    )
    assert.isAbove(links.length, 10)
    const broken = links.filter(({ document, link }) => {
      const [path = "", anchor] = link.split("#")
      const target = path === "" ? document : relative(ROOT, join(ROOT, dirname(document), path))
      if (!existsSync(join(ROOT, target))) return true
      return anchor !== undefined && !anchors(read(target)).includes(anchor)
    })
    assert.deepEqual(broken, [])
  })
})
