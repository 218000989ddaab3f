/**
 * What a server takes as a token, as it is written: in a list of the settings, where an entry is a token and nothing else,
 * or in a tokens file, where a line may go on with attributes, between blanks:
 *
 *     # Anna's laptop
 *     sha256:2bb80d53… name=anna expires=2027-01-31 allow=10.0.0.0/8,192.0.2.7 names=^web- role=source
 *
 * Nothing of a line is ever quoted but the value of an attribute that is known: anything else may be a part of a token.
 */
import { Result } from "effect"
import type { WrittenRestriction } from "./Restriction.ts"

export interface TokenEntry {
  /** Where it stands, like `line 3` or `token 1`. */
  readonly place: string
  readonly token: string
  readonly name: string | undefined
  /** In epoch milliseconds. */
  readonly expiresAt: number | undefined
  readonly restriction: WrittenRestriction
  /** What is wrong with its attributes, as half sentences. */
  readonly problems: ReadonlyArray<string>
}

/** What may stand behind the token of a relay. */
export const RELAY_ATTRIBUTES = ["name", "expires", "allow", "deny"] as const

/** What may stand behind the token of a client. */
export const CLIENT_ATTRIBUTES = [...RELAY_ATTRIBUTES, "names", "role"] as const

type Attribute = (typeof CLIENT_ATTRIBUTES)[number]

/** An entry that is only a token. */
export const literalEntry = (token: string, place: string): TokenEntry => ({
  place,
  token,
  name: undefined,
  expiresAt: undefined,
  restriction: {},
  problems: []
})

/** The lines of a file that are not blank and no comments, with their places. */
export const lines = (text: string) =>
  text
    .split("\n")
    .map((line, index) => ({ place: `line ${index + 1}`, text: line.trim() }))
    .filter(({ text }) => text !== "" && !text.startsWith("#"))

/** The entry that a line stands for. */
export const parseLine = (line: string, place: string, known: ReadonlyArray<Attribute>): TokenEntry => {
  const [token = "", ...words] = line.split(/\s+/)
  const values = new Map<Attribute, string>()
  const problems = new Set<string>()
  const attributeOf = (word: string) => known.find((name) => word.startsWith(`${name}=`))
  if (attributeOf(token) !== undefined) problems.add("begins with an attribute; write the token first")
  for (const word of words) {
    const name = attributeOf(word)
    if (name === undefined) problems.add(notKnown(known))
    else if (values.has(name)) problems.add(`has ${name}= twice; keep one`)
    else if (word === `${name}=`) problems.add(`has ${name}= without a value; write one behind it, or remove it`)
    else values.set(name, word.slice(name.length + 1))
  }
  const valueOf = <A>(name: Attribute, parse: (text: string) => Result.Result<A, string>): A | undefined => {
    const text = values.get(name)
    if (text === undefined) return undefined
    const parsed = parse(text)
    if (Result.isSuccess(parsed)) return parsed.success
    problems.add(`has ${name}=${text}, ${parsed.failure}`)
    return undefined
  }
  return {
    place,
    token,
    name: valueOf("name", parseName),
    expiresAt: valueOf("expires", parseExpiry),
    restriction: {
      "allow-cidrs": values.get("allow")?.split(",") ?? [],
      "deny-cidrs": values.get("deny")?.split(",") ?? [],
      "name-matches": values.get("names") ?? "",
      "role-matches": values.get("role") ?? ""
    },
    problems: [...problems]
  }
}

const notKnown = (known: ReadonlyArray<Attribute>) =>
  `has something behind the token that is none of ${known.map((name) => `${name}=…`).join(", ")}; ` +
  "a token that has a blank in it can only stand here as its hash, sha256:…"

const parseName = (text: string): Result.Result<string, string> =>
  /^[^\p{C}]{1,64}$/u.test(text)
    ? Result.succeed(text)
    : Result.fail("which is no name; write at most 64 letters, without control characters")

/** A day, to its end in UTC, or a time of RFC 3339. */
const parseExpiry = (text: string): Result.Result<number, string> => {
  const [, day, time] = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d))?$/.exec(text) ?? []
  const midnight = Date.parse(`${day}T00:00:00Z`)
  const at = time === undefined ? midnight + DAY_MILLIS : Date.parse(text)
  // The system takes the 30th of February for the 2nd of March.
  const exists = !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day!)
  return exists && !Number.isNaN(at)
    ? Result.succeed(at)
    : Result.fail("which is no time; write a day like 2027-01-31, or a time like 2027-01-31T12:00:00Z")
}

const DAY_MILLIS = 86_400_000
