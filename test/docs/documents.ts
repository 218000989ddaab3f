/** The documents of the project, and what stands in them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"

export const ROOT = join(import.meta.dirname, "..", "..")

/** The text of a file of the project. */
export const read = (path: string) => readFileSync(join(ROOT, path), "utf8")

/** All documents, those for users first. */
export const DOCUMENTS: ReadonlyArray<string> = [
  "README.md",
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => join("docs", file))
    .sort(),
  "CONTRIBUTING.md",
  "SECURITY.md"
]

export interface Block {
  readonly document: string
  readonly line: number
  /** Empty for a picture or the like. */
  readonly language: string
  readonly text: string
}

/** The fenced blocks of a document; those within a list without its indentation. */
export const blocks = (document: string): ReadonlyArray<Block> => {
  const text = read(document)
  return [...text.matchAll(/^( *)```(\w*)\n(.*?)^ *```$/gms)].map(({ index, 1: indent, 2: language, 3: body }) => ({
    document,
    line: text.slice(0, index).split("\n").length,
    language: language!,
    text: body!.replaceAll(new RegExp(`^${indent}`, "gm"), "")
  }))
}

/** The rows of the first table below a heading, as the cells of each, without the row of titles. */
export const tableBelow = (document: string, heading: string): ReadonlyArray<ReadonlyArray<string>> => {
  const lines = read(document).split("\n")
  const from = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "") === heading)
  if (from < 0) throw new Error(`${document} has no heading "${heading}"`)
  const rest = lines.slice(from + 1)
  const own = rest.slice(0, rest.findIndex((line) => /^#+ /.test(line)) >>> 0)
  const begin = own.findIndex((line) => line.startsWith("|"))
  if (begin < 0) throw new Error(`${document} has no table below "${heading}"`)
  const end = own.findIndex((line, at) => at > begin && !line.startsWith("|"))
  return own.slice(begin + 2, end < 0 ? undefined : end).map((row) =>
    row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim())
  )
}

/** What a text has between backticks. */
export const codes = (text: string): ReadonlyArray<string> => [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!)

/** The events that the list of them has: each with its level, and its fields with those of the event that it refers to. */
export const events = (): ReadonlyArray<{ event: string; level: string; fields: ReadonlyArray<string> }> => {
  const sections = ["Server and control", "Relay, also the one in a server", "Client", "All roles"]
  return sections
    .flatMap((section) => tableBelow("docs/logging.md", section))
    .map(([event = "", level = "", fields = ""], _, rows) => {
      const own = codes(fields)
      const others = rows.filter(([other]) => own.includes(codes(other!)[0]!)).flatMap((row) => codes(row[2]!))
      const all = [...own, ...others].filter((field) => !field.includes("."))
      return { event: codes(event)[0]!, level, fields: [...new Set(all)] }
    })
}

/** What lines of a log have that the list of events does not: events, or fields of theirs. */
export const undocumentedIn = (log: string): ReadonlyArray<string> => {
  const known = Map.groupBy(events(), ({ event }) => event)
  const found = [...log.matchAll(/^\S+Z [a-z]+ +([a-z]+(?:\.[a-z]+)+)\b(.*)$/gm)].flatMap(
    ([, event = "", rest = ""]) => {
      const rows = known.get(event)
      if (rows === undefined) return [event]
      const documented = rows.flatMap(({ fields }) => fields)
      const fields = [...rest.matchAll(/ (\w+)=(?:"(?:[^"\\]|\\.)*"|\S+)/g)].map(([, field]) => field!)
      return fields.filter((field) => !documented.includes(field)).map((field) => `${event} ${field}`)
    }
  )
  return [...new Set(found)]
}
