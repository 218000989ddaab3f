import { Result, Schema } from "effect"
import type { ConfigReason } from "./ConfigError.ts"
import { withoutEmpty } from "./fold.ts"
import { invalidValues } from "./invalidValues.ts"
import type { Place } from "./Place.ts"

/** What a schema makes of a table, in which empty values count as absent, or every problem of it. */
export const checkTable = <A, I>(
  schema: Schema.Codec<A, I>,
  table: object,
  { key, origin }: Place
): Result.Result<A, ReadonlyArray<ConfigReason>> =>
  Result.mapError(Schema.decodeUnknownResult(schema, { errors: "all" })(withoutEmpty(table)), (error) =>
    invalidValues(error, key, origin)
  )
