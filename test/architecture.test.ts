/** The layer rule of docs/architecture.md, checked on the imports of every source file. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"
import { assert, describe, it } from "vitest"

/** What each folder may import besides itself. */
const MAY_IMPORT: Record<string, ReadonlyArray<string>> = {
  domain: [],
  internal: ["domain"],
  config: ["domain", "internal"],
  certs: ["domain", "internal"],
  protocol: ["domain", "certs", "internal"],
  transport: ["domain", "certs", "internal"],
  directory: ["domain", "certs", "protocol", "transport", "internal"],
  relay: ["domain", "certs", "protocol", "transport", "directory", "internal"],
  peer: ["domain", "certs", "protocol", "transport", "directory", "relay", "internal"],
  endpoint: ["domain", "certs", "protocol", "transport", "directory", "relay", "peer", "internal"],
  status: ["domain", "certs", "protocol", "transport", "directory", "relay", "peer", "endpoint", "internal"],
  cli: [
    "domain",
    "config",
    "certs",
    "protocol",
    "transport",
    "directory",
    "relay",
    "peer",
    "endpoint",
    "status",
    "internal"
  ]
}

const SOURCE = join(import.meta.dirname, "..", "src")

interface Import {
  readonly file: string
  readonly specifier: string
}

const imports: ReadonlyArray<Import> = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((file) => {
    const text = readFileSync(join(SOURCE, file), "utf8")
    return [...text.matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map((match) => ({ file, specifier: match[1]! }))
  })

const folder = (file: string) => file.split("/")[0]!

describe("architecture", () => {
  it("has sources to look at", () => {
    assert.isAbove(imports.length, 50)
  })

  it("a layer imports only layers to its left", () => {
    const offences = imports.flatMap(({ file, specifier }) => {
      if (!specifier.startsWith(".") || !file.includes("/")) return []
      const target = folder(relative(SOURCE, join(SOURCE, dirname(file), specifier)))
      const own = folder(file)
      return target === own || MAY_IMPORT[own]?.includes(target) ? [] : [`${file} imports ${specifier}`]
    })
    assert.deepEqual(offences, [])
  })

  it("every folder has its place in the layers", () => {
    const folders = new Set(imports.filter(({ file }) => file.includes("/")).map(({ file }) => folder(file)))
    assert.deepEqual(
      [...folders].filter((name) => !(name in MAY_IMPORT)),
      []
    )
  })

  it("only the QUIC transport imports the native binding", () => {
    const importers = imports.filter(({ specifier }) => specifier.startsWith("@matrixai/quic")).map(({ file }) => file)
    assert.deepEqual([...new Set(importers)], ["transport/quic/internal/native.ts"])
  })

  it("the byte path is free of Effect", () => {
    const offences = imports.filter(
      ({ file, specifier }) =>
        specifier === "effect" &&
        (file.startsWith("internal/splice") || /quic\/internal\/Quic|tcp\/internal\//.test(file))
    )
    assert.deepEqual(offences, [])
  })
})
