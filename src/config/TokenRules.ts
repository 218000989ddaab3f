/**
 * The tokens that a server takes, with what may be done with each: those of a list or a file, with rules of their own or
 * with those that stand at the same position among the restrictions.
 *
 * Invariants: tokens are trimmed, never empty, never twice (their hashes tell), and `Redacted` from the moment they are
 * read. An error tells where a token stands, never its text.
 */
import { Effect, Redacted, Result } from "effect"
import { HASH_PREFIX, hashKnown, type TokenRule } from "../domain/TokenRule.ts"
import { type ConfigReason, ValueInvalid } from "./ConfigError.ts"
import type { RestrictionTable } from "./ConfigTables.ts"
import { readText } from "./loadFiles.ts"
import type { Place } from "./Place.ts"
import { checkRestriction } from "./Restriction.ts"
import { CLIENT_ATTRIBUTES, lines, literalEntry, parseLine, RELAY_ATTRIBUTES, type TokenEntry } from "./TokenEntry.ts"
import { MAX_TOKEN_BYTES } from "./Tokens.ts"
import { problemsOf } from "./together.ts"

export interface TokenRulesSettings {
  /** Whose tokens they are. */
  readonly of: "clients" | "relays"
  /** Where the list stands. */
  readonly place: Place
  /** Where the file is named. */
  readonly filePlace: Place
  readonly file: string
  readonly literals: ReadonlyArray<string>
  readonly restrictionPlace: Place
  readonly restrictions: ReadonlyArray<RestrictionTable>
}

/** The rules in the order of their tokens, or everything that is wrong with them. */
export const tokenRules = Effect.fnUntraced(function* (settings: TokenRulesSettings) {
  const { file, place, filePlace, restrictions, restrictionPlace } = settings
  const { key } = file === "" ? place : filePlace
  const origin = file === "" ? place.origin([]) : file
  const known = settings.of === "clients" ? CLIENT_ATTRIBUTES : RELAY_ATTRIBUTES
  const entries =
    file === ""
      ? settings.literals.map((token, index) => literalEntry(token.trim(), `token ${index + 1}`))
      : lines(yield* readText(file, key, filePlace.origin([]))).map(({ text, place }) => parseLine(text, place, known))
  const invalid = (where: string, detail: string) => new ValueInvalid({ origin, key, detail: `${where} ${detail}` })
  const restrictionKey = (index: number) => `${restrictionPlace.key}[${index}]`

  const own = yield* Effect.forEach(entries, ({ place, restriction }) =>
    checkRestriction(restriction, (key, detail) => invalid(place, `has ${ATTRIBUTES[key]}=, where ${detail}`))
  )
  const positioned = yield* Effect.forEach(restrictions, (table, index) =>
    checkRestriction(table, (key, detail) => {
      const origin = restrictionPlace.origin([index, key])
      return new ValueInvalid({ origin, key: `${restrictionKey(index)}.${key}`, detail })
    })
  )
  const ruledTwice = (index: number) => isRestricting(entries[index]!.restriction) && isRestricting(restrictions[index])
  const firstPlaces = new Map(entries.toReversed().map((entry) => [hashOf(entry), entry.place]))
  const counted = restrictions.length === 0 || restrictions.length === entries.length
  const problems = [
    ...entries.flatMap((entry, index) =>
      [
        ...tokenProblems(entry, firstPlaces.get(hashOf(entry))!),
        ...(counted && ruledTwice(index) ? [`has rules, and so has ${restrictionKey(index)}; keep one of the two`] : [])
      ].map((detail) => invalid(entry.place, detail))
    ),
    ...problemsOf([...own, ...positioned]),
    ...(counted ? [] : [unpaired(settings, entries.length)])
  ]
  if (problems.length > 0) return yield* Effect.fail<ReadonlyArray<ConfigReason>>(problems)
  return entries.map(
    ({ token, name, expiresAt }, index): TokenRule => ({
      token: Redacted.make(token, { label: "token" }),
      name,
      expiresAt,
      ...Result.getOrThrow((isRestricting(restrictions[index]) ? positioned : own)[index]!)
    })
  )
})

const unpaired = ({ restrictions, restrictionPlace: { key, origin } }: TokenRulesSettings, tokens: number) =>
  new ValueInvalid({
    origin: origin([]),
    key,
    detail: `there are ${restrictions.length} of them, and ${tokens} tokens; write one for each token in the same order, or none`
  })

/** How the keys of a restriction are called behind a token. */
const ATTRIBUTES = {
  "allow-cidrs": "allow",
  "deny-cidrs": "deny",
  "name-matches": "names",
  "role-matches": "role"
} as const

/** Whether it says anything. */
const isRestricting = (table: RestrictionTable = {}): boolean => Object.values(table).some((value) => value.length > 0)

/** What is wrong with a token and what stands behind it. */
const tokenProblems = ({ place, token, problems }: TokenEntry, firstPlace: string): ReadonlyArray<string> => {
  const detail = refusal(token, firstPlace === place ? undefined : firstPlace)
  return detail === undefined ? problems : [detail, ...problems]
}

const hashOf = ({ token }: TokenEntry) => hashKnown(token).toString("hex")

const refusal = (token: string, before: string | undefined): string | undefined => {
  if (token === "") return "is empty; remove it"
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) return `has more than ${MAX_TOKEN_BYTES} bytes; use a shorter one`
  if (before !== undefined) return `is the same as ${before}; remove one of them`
  if (token.startsWith(HASH_PREFIX) && !/^sha256:[0-9a-f]{64}$/i.test(token)) {
    return `is not the SHA-256 hash of a token; write ${HASH_PREFIX} and 64 hexadecimal letters`
  }
  return undefined
}
