import { Effect, Redacted } from "effect"
import { decode } from "../domain/base32hex.ts"
import { ValueInvalid } from "./ConfigError.ts"
import { readBytes } from "./loadFiles.ts"

/** What all tokens of stateless resets follow from (RFC 9000 §10.3.2). */
export const RESET_KEY_BYTES = 32

/** A key, whose bytes no message shows. */
export const redactedKey = (bytes: Uint8Array) => Redacted.make(bytes, { label: "stateless reset key" })

/** The configured key of a client: the bytes of the file, else the literal; undefined where there is neither. */
export const resetKey = Effect.fnUntraced(function* (settings: {
  readonly file: string
  readonly literal: string
  /** Where a setting of this name is. */
  readonly origin: (name: typeof NAME | `${typeof NAME}-file`) => string
}) {
  const { file, literal, origin } = settings
  if (file !== "") {
    const bytes = yield* readBytes(file, `${KEY}-file`, origin(`${NAME}-file`))
    if (bytes.length === RESET_KEY_BYTES) return redactedKey(bytes)
    const detail = `the file has ${bytes.length} bytes, and a key has ${RESET_KEY_BYTES}; make one with "head -c 32 /dev/urandom"`
    return yield* new ValueInvalid({ origin: file, key: `${KEY}-file`, detail })
  }
  if (literal === "") return undefined
  // As upstream's decoder does it.
  const bytes = decode(literal.replaceAll(/[\r\n]/g, ""))
  if (bytes?.length === RESET_KEY_BYTES) return redactedKey(bytes)
  const detail = "it is not 32 bytes in base32hex; write 52 of 0-9 and a-v, or leave it out to have a key made and kept"
  return yield* new ValueInvalid({ origin: origin(NAME), key: KEY, detail })
})

const NAME = "direct-stateless-reset-key"
const KEY = `client.${NAME}`
