/** The token that a client or a relay shows: trimmed, and `Redacted` from the moment it is read. */
import { Config, Effect, Redacted } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import { readText } from "./loadFiles.ts"
import { lines } from "./TokenEntry.ts"

/** The longest token: it must fit into the first message that a server reads, 64 KiB, with room for the rest of it. */
export const MAX_TOKEN_BYTES = 60_000

interface ShownToken {
  readonly file: string
  readonly literal: string
  /** Where a setting of this name is. */
  readonly origin: (name: "token" | "token-file") => string
}

/**
 * The token of a client: the first one of the file, else the literal, else that of the environment (`CONNET_TOKEN`), else
 * the empty token, which only a server that asks for none accepts.
 */
export const clientToken = (settings: ShownToken) =>
  Effect.flatMap(environmentToken, (otherwise) => shownToken("client.token", settings, otherwise))

/** The token of a relay: the first one of the file, else the literal, else the empty token. */
export const relayToken = (settings: ShownToken) => shownToken("relay.token", settings, "")

const shownToken = Effect.fnUntraced(function* (name: string, settings: ShownToken, otherwise: string) {
  const fromFile = settings.file !== ""
  const key = fromFile ? `${name}-file` : name
  const place = settings.origin(fromFile ? "token-file" : "token")
  const origin = fromFile ? settings.file : place
  const configured = fromFile ? lines(yield* readText(settings.file, key, place))[0]?.text : settings.literal.trim()
  const token = configured || otherwise
  if (token === "" && fromFile) {
    return yield* new ValueInvalid({ origin, key, detail: "the file holds no token; write one into its first line" })
  }
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) {
    return yield* new ValueInvalid({
      origin,
      key,
      detail: `the token has more than ${MAX_TOKEN_BYTES} bytes; use a shorter one`
    })
  }
  return Redacted.make(token, { label: "token" })
})

const environmentToken = Config.String("CONNET_TOKEN").pipe(
  Effect.orElseSucceed(() => ""),
  Effect.map((token) => token.trim())
)
