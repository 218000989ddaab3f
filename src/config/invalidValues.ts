import { type Schema, type SchemaAST, SchemaIssue } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import { keyOf } from "./canonicalKeys.ts"

/**
 * Each issue of a schema as a reason: the key below `prefix`, where its value came from, and what is wrong with it.
 *
 * @param valueAt what was written, to be shown where it is of another type than it should be
 */
export const invalidValues = (
  error: Schema.SchemaError,
  prefix: string,
  origin: (path: ReadonlyArray<PropertyKey>) => string,
  valueAt?: (path: ReadonlyArray<PropertyKey>) => unknown
): ReadonlyArray<ValueInvalid> =>
  issuesOf(error).map(({ message, keys }) => {
    const written = keyOf(keys)
    const key = prefix === "" ? written : written === "" ? prefix : `${prefix}.${written}`
    const got = valueAt !== undefined && message.startsWith(EXPECTED) ? `, got ${shown(key, valueAt(keys))}` : ""
    return new ValueInvalid({ origin: origin(keys), key, detail: `${message}${got}` })
  })

/** Where the issues of a schema are. */
export const invalidPaths = (error: Schema.SchemaError): ReadonlyArray<ReadonlyArray<PropertyKey>> =>
  issuesOf(error).map(({ keys }) => keys)

const issuesOf = (error: Schema.SchemaError) =>
  format(error.issue).issues.map(({ message, path = [] }) => ({
    message,
    keys: path.map((segment) => (typeof segment === "object" ? segment.key : segment))
  }))

const EXPECTED = "expected "

const TYPES: Partial<Record<SchemaAST.AST["_tag"], string>> = {
  String: "text in quotes",
  Boolean: "true or false",
  BigInt: "a whole number",
  Union: "text in quotes",
  Arrays: "a list",
  Objects: "a table"
}

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    const type = issue._tag === "InvalidType" ? TYPES[issue.ast._tag] : undefined
    return type === undefined ? SchemaIssue.defaultLeafHook(issue) : `${EXPECTED}${type}`
  }
})

/** A value of the wrong type; of what may be a secret only its type. */
const shown = (key: string, value: unknown): string => {
  if (Array.isArray(value)) return "a list"
  if (value instanceof Date) return SECRET.test(key) ? "a date" : `the date ${value.toISOString()}`
  if (typeof value === "object") return "a table"
  if (SECRET.test(key))
    return typeof value === "string" ? "text" : typeof value === "boolean" ? "a boolean" : "a number"
  return typeof value === "string" ? JSON.stringify(value) : String(value)
}

const SECRET = /(token|tokens|reset-key|proxy)(\[\d+\])?$/
