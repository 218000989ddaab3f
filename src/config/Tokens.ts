/**
 * Tokens as they are configured: what a client or a relay shows, and what a server accepts.
 *
 * Invariants: tokens are trimmed, never empty, never twice, and `Redacted` from the moment they are read. An error about
 * tokens tells their place, never their text.
 */
import { Config, Effect, Redacted } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import { readText } from "./loadFiles.ts"

/** What starts an entry that is the SHA-256 hash of a token, in 64 hexadecimal letters, instead of the token. */
export const HASH_PREFIX = "sha256:"

/** The longest token: it must fit into the first message that a server reads, 64 KiB, with room for the rest of it. */
export const MAX_TOKEN_BYTES = 60_000

interface Entry {
  readonly place: string
  readonly token: string
}

/** The entries of a token file: one a line, blank lines ignored. */
const entriesOf = (text: string): ReadonlyArray<Entry> =>
  text
    .split("\n")
    .map((line, index) => ({ place: `line ${index + 1}`, token: line.trim() }))
    .filter(({ token }) => token !== "")

interface ShownToken {
  readonly file: string
  readonly literal: string
  readonly origin: string
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
  const origin = fromFile ? settings.file : settings.origin
  const configured = fromFile ? entriesOf(yield* readText(settings.file, key))[0]?.token : settings.literal.trim()
  const token = configured || otherwise
  if (token === "" && fromFile) {
    return yield* new ValueInvalid({ origin, key, detail: "the file holds no token; write one into its first line" })
  }
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) {
    return yield* new ValueInvalid({ origin, key, detail: `a token has at most ${MAX_TOKEN_BYTES} bytes` })
  }
  return Redacted.make(token, { label: "token" })
})

/** What a server accepts, in the order it is configured in; each a token, or a hash behind `sha256:`. */
export const serverTokens = Effect.fnUntraced(function* (settings: {
  /** The key of the literals, like `server.tokens`; that of the file ends in `-file`. */
  readonly key: string
  readonly file: string
  readonly literals: ReadonlyArray<string>
  readonly origin: string
}) {
  const fromFile = settings.file !== ""
  const key = fromFile ? `${settings.key}-file` : settings.key
  const origin = fromFile ? settings.file : settings.origin
  const entries = fromFile
    ? entriesOf(yield* readText(settings.file, key))
    : settings.literals.map((token, index) => ({ place: `token ${index + 1}`, token: token.trim() }))
  const places = new Map<string, string>()
  for (const { place, token } of entries) {
    const detail = refusal(token, places.get(token))
    if (detail !== undefined) {
      return yield* new ValueInvalid({ origin, key, detail: `${place} ${detail}` })
    }
    places.set(token, place)
  }
  return entries.map(({ token }) => Redacted.make(token, { label: "token" }))
})

const refusal = (token: string, before: string | undefined): string | undefined => {
  if (token === "") return "is empty; remove it"
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) return `has more than ${MAX_TOKEN_BYTES} bytes; use a shorter one`
  if (before !== undefined) return `is the same as ${before}; remove one of them`
  if (token.startsWith(HASH_PREFIX) && !/^sha256:[0-9a-f]{64}$/i.test(token)) {
    return `is not the SHA-256 hash of a token; write ${HASH_PREFIX} and 64 hexadecimal letters`
  }
  return undefined
}

const environmentToken = Config.String("CONNET_TOKEN").pipe(
  Effect.orElseSucceed(() => ""),
  Effect.map((token) => token.trim())
)
