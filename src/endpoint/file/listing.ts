/** The page that shows what is in a folder. */
import { opendir, stat } from "node:fs/promises"
import { join } from "node:path"
import { escapeHtml, PAGE_STYLE } from "../http/errorPage.ts"

/** What is shown of a file or a folder. */
export interface Entry {
  readonly name: string
  readonly folder: boolean
  readonly bytes: number
  readonly changedAt: Date
}

export interface Listing {
  readonly entries: ReadonlyArray<Entry>
  /** There are more than are shown. */
  readonly more: boolean
}

/** The first entries of a folder that may be shown. */
export const readFolder = async (folder: string, dotFiles: boolean): Promise<Listing> => {
  const names: Array<string> = []
  let more = false
  for await (const { name } of await opendir(folder)) {
    if (!dotFiles && name.startsWith(".")) continue
    more = names.length === MAX_ENTRIES
    if (more) break
    names.push(name)
  }
  const entries: Array<Entry> = []
  for (const name of names) {
    // Links to nothing and what went away meanwhile are not shown, nor are devices.
    const found = await stat(join(folder, name)).catch(() => undefined)
    if (found?.isDirectory() || found?.isFile()) {
      entries.push({ name, folder: found.isDirectory(), bytes: found.size, changedAt: found.mtime })
    }
  }
  entries.sort((a, b) => Number(b.folder) - Number(a.folder) || (a.name < b.name ? -1 : 1))
  return { entries, more }
}

const MAX_ENTRIES = 1_000

/** The page; `names` is the path of the folder. */
export const listingPage = (names: ReadonlyArray<string>, { entries, more }: Listing): string => {
  const title = escapeHtml(`/${names.map((name) => `${name}/`).join("")}`)
  const row = (href: string, name: string, size: string, date: string) =>
    `<tr><td><a href="${escapeHtml(href)}">${escapeHtml(name)}</a><td>${size}<td>${date}`
  const rows = entries.map(({ name, folder, bytes, changedAt }) => {
    const end = folder ? "/" : ""
    const date = changedAt.toISOString().slice(0, 16).replace("T", " ")
    // With a dot in front no name is taken for a scheme or a host.
    return row(`./${encodeURIComponent(name)}${end}`, name + end, folder ? "" : sizeOf(bytes), date)
  })
  if (names.length > 0) rows.unshift(row("../", "../", "", ""))
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${title}</title>
<style>${PAGE_STYLE}</style>
<h1>${title}</h1>
<table>
${rows.join("\n")}
</table>${more ? `\n<p>Only ${MAX_ENTRIES} entries are shown.</p>` : ""}
</html>
`
}

const sizeOf = (bytes: number): string => {
  const power = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1)
  const size = bytes / 1024 ** power
  return `${power === 0 || size >= 10 ? Math.round(size) : size.toFixed(1)} ${UNITS[power]}`
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"]
