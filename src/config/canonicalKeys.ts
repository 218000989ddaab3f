import { type ConfigReason, KeyTwice, KeyUnknown } from "./ConfigError.ts"
import { ConfigTables, PLANNED_KEYS } from "./ConfigTables.ts"

/** What a schema shows of its structure: a struct's fields, a record's or array's values, what an optional key wraps. */
interface Shape {
  readonly fields?: Readonly<Record<string, Shape>>
  readonly key?: unknown
  readonly value?: Shape
  readonly schema?: Shape
}

/**
 * The document with all keys spelled as the schema does: they match in any case, only endpoint names are kept. Keys that
 * the schema does not have are left out and told as problems.
 */
export const canonicalKeys = (origin: string, document: unknown) => {
  const problems: Array<ConfigReason> = []

  const visit = (shape: Shape, value: unknown, path: string, pattern: string): unknown => {
    if (shape.schema !== undefined) return visit(shape.schema, value, path, pattern)
    if (Array.isArray(value) && shape.value !== undefined && shape.key === undefined) {
      return value.map((item) => visit(shape.value!, item, path, pattern))
    }
    if (!isTable(value)) return value
    if (shape.key !== undefined && shape.value !== undefined) {
      const entries = Object.entries(value)
      return Object.fromEntries(
        entries.map(([name, item]) => [name, visit(shape.value!, item, join(path, name), join(pattern, "*"))])
      )
    }
    const fields = shape.fields
    if (fields === undefined) return value
    const known = new Map<string, unknown>()
    for (const [written, item] of Object.entries(value)) {
      const key = written.toLowerCase()
      if (!Object.hasOwn(fields, key)) {
        problems.push(unknown(origin, join(path, written), join(pattern, key)))
      } else {
        known.set(key, known.has(key) ? united(known.get(key), item, join(path, key)) : item)
      }
    }
    const visited = [...known].map(([key, item]) => [
      key,
      visit(fields[key]!, item, join(path, key), join(pattern, key))
    ])
    return Object.fromEntries(visited)
  }

  /** `[client]` and `[CLIENT.sources.a]` are parts of one table; anything else may be there only once. */
  const united = (a: unknown, b: unknown, path: string): unknown => {
    if (!isTable(a) || !isTable(b)) {
      problems.push(new KeyTwice({ origin, key: path }))
      return a
    }
    const all = new Map(Object.entries(a))
    for (const [key, item] of Object.entries(b)) {
      all.set(key, all.has(key) ? united(all.get(key), item, join(path, key)) : item)
    }
    return Object.fromEntries(all)
  }

  const tables = visit(ConfigTables as unknown as Shape, document, "", "")
  return { tables, problems }
}

/** Adds a key to a path as TOML would write it, with quotes where they are needed. */
export const join = (path: string, key: string): string => {
  const written = /^[\w*-]+$/.test(key) ? key : JSON.stringify(key)
  return path === "" ? written : `${path}.${written}`
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)

const unknown = (origin: string, key: string, pattern: string) => {
  if (PLANNED_KEYS.has(pattern)) return new KeyUnknown({ origin, key, planned: true })
  const nearest = nearestKey(pattern)
  return new KeyUnknown({ origin, key, planned: false, ...(nearest === undefined ? {} : { nearest }) })
}

/** The known key that is most like this one: the same word in another table, or a few letters off in the same one. */
const nearestKey = (pattern: string): string | undefined => {
  const word = pattern.slice(pattern.lastIndexOf(".") + 1)
  const table = pattern.slice(0, pattern.lastIndexOf(".") + 1)
  const role = pattern.split(".")[0]!
  const elsewhere = KNOWN.filter((key) => key.endsWith(`.${word}`)).sort(
    (a, b) => Number(b.startsWith(role)) - Number(a.startsWith(role))
  )[0]
  if (elsewhere !== undefined) return elsewhere.replace("*", "<name>")
  return KNOWN.filter((key) => key.startsWith(table) && !key.slice(table.length).includes("."))
    .map((key) => ({ key, apart: distance(word, key.slice(table.length)) }))
    .filter(({ apart }) => apart <= Math.max(2, Math.floor(word.length / 3)))
    .sort((a, b) => a.apart - b.apart)[0]
    ?.key.replace("*", "<name>")
}

/** Letters to insert, remove or replace to get from one word to the other (Levenshtein). */
const distance = (a: string, b: string): number => {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + Number(a[i - 1] !== b[j - 1])))
    }
    row = next
  }
  return row[b.length]!
}

const KNOWN: ReadonlyArray<string> = (() => {
  const collect = (shape: Shape, path: string): ReadonlyArray<string> => {
    if (shape.schema !== undefined) return collect(shape.schema, path)
    if (shape.fields !== undefined) {
      return Object.entries(shape.fields).flatMap(([key, field]) => {
        const full = path === "" ? key : `${path}.${key}`
        return [full, ...collect(field, full)]
      })
    }
    if (shape.value === undefined) return []
    return collect(shape.value, shape.key === undefined ? path : `${path}.*`)
  }
  return collect(ConfigTables as unknown as Shape, "")
})()
