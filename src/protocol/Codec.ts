/**
 * The border between bytes and values: protobuf decodes the bytes, a Schema checks what they say. Both ways throw nothing
 * for any input that comes from outside.
 */
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary
} from "@bufbuild/protobuf"
import { Result, Schema, SchemaIssue } from "effect"
import { Malformed, ProtocolError, ValueRefused } from "./ProtocolError.ts"

/** A message as bytes and as a checked value. */
export interface Codec<A> {
  /** Name of the message, for errors. */
  readonly type: string
  readonly encode: (value: A) => Uint8Array
  readonly decode: (bytes: Uint8Array) => Result.Result<A, ProtocolError>
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * @param message the generated description
 * @param schema the checked value
 * @param read what of the message is to be checked
 * @param write the message of a value
 * @param usual the values that nearly all messages of this type have on the busiest way: they are known by their bytes
 */
export const makeCodec = <Desc extends DescMessage, S extends Schema.Codec<unknown, unknown>>(
  message: Desc,
  schema: S,
  read: (message: MessageShape<Desc>) => unknown,
  write: (value: S["Type"]) => MessageInitShape<Desc>,
  usual: ReadonlyArray<S["Type"]> = []
): Codec<S["Type"]> => {
  const check = Schema.decodeUnknownResult(schema)
  const bytesOf = (value: S["Type"]) => toBinary(message, create(message, write(value)))
  const known = usual.map((value) => ({ value, bytes: bytesOf(value) }))
  return {
    type: message.typeName,
    encode: (value) => known.find((each) => each.value === value)?.bytes ?? bytesOf(value),
    decode: (bytes) => {
      for (const each of known) if (Buffer.compare(bytes, each.bytes) === 0) return Result.succeed(each.value)
      let decoded: MessageShape<Desc>
      try {
        decoded = fromBinary(message, bytes, { readUnknownFields: false })
      } catch (error) {
        return Result.fail(
          new ProtocolError({ reason: new Malformed({ type: message.typeName, detail: (error as Error).message }) })
        )
      }
      return Result.mapError(check(read(decoded)), (error) => {
        const [issue] = formatIssue(error.issue).issues
        const path = (issue?.path ?? []).map(String).join(".")
        const reason = new ValueRefused({ type: message.typeName, path, detail: issue?.message ?? error.message })
        return new ProtocolError({ reason })
      })
    }
  }
}
