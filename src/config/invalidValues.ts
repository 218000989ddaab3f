import { type Schema, SchemaIssue } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import { join } from "./canonicalKeys.ts"

/** Each issue of a schema as a reason: the key below `prefix`, where its value came from, and what is wrong with it. */
export const invalidValues = (
  error: Schema.SchemaError,
  prefix: string,
  origin: (path: ReadonlyArray<PropertyKey>) => string
): ReadonlyArray<ValueInvalid> =>
  format(error.issue).issues.map(({ message, path = [] }) => {
    const keys = path.map((segment) => (typeof segment === "object" ? segment.key : segment))
    return new ValueInvalid({
      origin: origin(keys),
      key: keys.reduce<string>(
        (text, key) => (typeof key === "number" ? `${text}[${key}]` : join(text, String(key))),
        prefix
      ),
      detail: message.replace(/^E/, "e")
    })
  })

const format = SchemaIssue.makeFormatterStandardSchemaV1()
