import { Effect, Result, Schema, SchemaIssue, SchemaTransformation } from "effect"

/** A schema of what `parse` makes of a text; its failures are half sentences for people. */
export const parsed = <A>(parse: (text: string) => Result.Result<A, string>) =>
  Schema.String.pipe(
    Schema.decodeTo(
      Schema.declare((_value): _value is A => true),
      SchemaTransformation.transformEffect<A, string>({
        decode: (text, options) =>
          Result.match(parse(text), {
            onSuccess: (value) => Effect.succeed(value),
            onFailure: (message) => Effect.fail(new SchemaIssue.InvalidValue({ message }, text, options))
          }),
        encode: (_value, options) =>
          Effect.fail(new SchemaIssue.Forbidden({ message: "settings are only read" }, undefined, options))
      })
    )
  )
