import { type ConfigReason, KeyTwice, KeyUnknown } from "./ConfigError.ts"
import { ConfigTables } from "./ConfigTables.ts"
import { nearest } from "./nearest.ts"

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
 *
 * @param originOf where the value at a path of the document is
 */
export const canonicalKeys = (document: unknown, originOf: (path: Path) => string) => {
  const problems: Array<ConfigReason> = []

  const visit = (shape: Shape, value: unknown, path: Path): unknown => {
    if (shape.schema !== undefined) return visit(shape.schema, value, path)
    if (Array.isArray(value) && shape.value !== undefined && shape.key === undefined) {
      return value.map((item, index) => visit(shape.value!, item, [...path, index]))
    }
    if (!isTable(value)) return value
    if (shape.key !== undefined && shape.value !== undefined) {
      const entries = Object.entries(value)
      return Object.fromEntries(entries.map(([name, item]) => [name, visit(shape.value!, item, [...path, name])]))
    }
    const fields = shape.fields
    if (fields === undefined) return value
    const known = new Map<string, unknown>()
    for (const [written, item] of Object.entries(value)) {
      const key = written.toLowerCase()
      if (!Object.hasOwn(fields, key)) {
        problems.push(unknown(originOf([...path, written]), [...path, written]))
      } else {
        known.set(key, known.has(key) ? united(known.get(key), item, [...path, key]) : item)
      }
    }
    return Object.fromEntries([...known].map(([key, item]) => [key, visit(fields[key]!, item, [...path, key])]))
  }

  /** `[client]` and `[CLIENT.sources.a]` are parts of one table; anything else may be there only once. */
  const united = (a: unknown, b: unknown, path: Path): unknown => {
    if (!isTable(a) || !isTable(b)) {
      problems.push(new KeyTwice({ origin: originOf(path), key: keyOf(path) }))
      return b
    }
    const all = new Map(Object.entries(a))
    for (const [key, item] of Object.entries(b)) {
      all.set(key, all.has(key) ? united(all.get(key), item, [...path, key]) : item)
    }
    return Object.fromEntries(all)
  }

  const tables = visit(ConfigTables as unknown as Shape, document, [])
  return { tables, problems }
}

type Path = ReadonlyArray<PropertyKey>

/** A path as TOML would write it: `client.sources."my web".url`, and positions like `server.ingress[0].addr`. */
export const keyOf = (path: Path): string =>
  path.reduce<string>((text, key) => (typeof key === "number" ? `${text}[${key}]` : join(text, String(key))), "")

/** Adds a key to a path as TOML would write it, with quotes where they are needed. */
export const join = (path: string, key: string): string => {
  const written = /^[\w*-]+$/.test(key) ? key : JSON.stringify(key)
  return path === "" ? written : `${path}.${written}`
}

const isTable = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Date)

const unknown = (origin: string, path: Path) => {
  const key = keyOf(path)
  const pattern = patternOf(path)
  const meant = nearestKey(pattern)
  return new KeyUnknown({ origin, key, ...(meant === undefined ? {} : { nearest: meant }) })
}

/** The path as keys are known: without positions, `*` for the name of an endpoint. */
const patternOf = (path: Path): string =>
  path
    .filter((key) => typeof key !== "number")
    .map((key, at, keys) => (at === 2 && ENDPOINT_TABLES.has(String(keys[1])) ? "*" : String(key).toLowerCase()))
    .join(".")

const ENDPOINT_TABLES = new Set(["destinations", "sources"])

/** The known key that is most like this one: the same word in another table, or a few letters off in the same one. */
const nearestKey = (pattern: string): string | undefined => {
  const word = pattern.slice(pattern.lastIndexOf(".") + 1)
  const table = pattern.slice(0, pattern.lastIndexOf(".") + 1)
  const role = pattern.split(".")[0]!
  // What stands within a table of a role is of no use in another one.
  const outer = table.split(".").length <= 2
  const elsewhere = KNOWN_KEYS.filter((key) => key.endsWith(`.${word}`) && (outer || key.startsWith(`${role}.`))).sort(
    (a, b) => Number(b.startsWith(role)) - Number(a.startsWith(role))
  )[0]
  if (elsewhere !== undefined) return elsewhere.replace("*", "<name>")
  const beside = KNOWN_KEYS.filter((key) => key.startsWith(table) && !key.slice(table.length).includes("."))
  const meant = nearest(
    word,
    beside.map((key) => key.slice(table.length))
  )
  return meant === undefined ? undefined : `${table}${meant}`.replace("*", "<name>")
}

/** Every table and every key that there is, without positions of arrays; `*` for the name of an endpoint. */
export const KNOWN_KEYS: ReadonlyArray<string> = (() => {
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
