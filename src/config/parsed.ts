import { Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"

/** A schema of what a function makes of a value; its failures are half sentences for people. */
const parsedFrom =
  <I>(from: Schema.Codec<I>) =>
  <A>(parse: (value: I) => Result.Result<A, string>) =>
    from.pipe(
      Schema.decodeTo(
        Schema.declare((_value): _value is A => true),
        SchemaTransformation.transformEffect<A, I>({
          decode: (value, options) =>
            Result.match(parse(value), {
              onSuccess: (result) => Effect.succeed(result),
              onFailure: (message) => Effect.fail(new SchemaIssue.InvalidValue({ message }, value, options))
            }),
          encode: (_value, options) =>
            Effect.fail(new SchemaIssue.Forbidden({ message: "settings are only read" }, undefined, options))
        })
      )
    )

/** A schema of what `parse` makes of a text. */
export const parsed = parsedFrom(Schema.String)

/** A schema of what `parse` makes of a list of texts. */
export const parsedTexts = parsedFrom(Schema.Array(Schema.String))

/** A schema of what `parse` makes of an integer of TOML. */
export const parsedInteger = parsedFrom(Schema.BigInt)
