/** A token that a server takes, and what may be done with it. */
import { createHash } from "node:crypto"
import type { Redacted } from "effect"
import { type AddressRules, ANY_ADDRESS } from "./AddressRules.ts"
import type { Role } from "./Role.ts"

export interface TokenRule {
  /** The token, or `sha256:` and its hash in 64 hexadecimal letters. */
  readonly token: Redacted.Redacted<string>
  /** What it is called in logs. */
  readonly name: string | undefined
  /** From when on it opens nothing any more, in epoch milliseconds; undefined: never. */
  readonly expiresAt: number | undefined
  /** From where it may be used. */
  readonly addresses: AddressRules
  /** Which endpoints it may be used for; undefined: all. */
  readonly names: NamePattern | undefined
  /** The only role that it may be used in; undefined: both. */
  readonly role: Role | undefined
}

/** What a name must look like. */
export interface NamePattern {
  /** As it is written. */
  readonly expression: string
  readonly matches: (name: string) => boolean
}

/** A token with which everything may be done. */
export const unrestricted = (token: Redacted.Redacted<string>): TokenRule => ({
  token,
  name: undefined,
  expiresAt: undefined,
  addresses: ANY_ADDRESS,
  names: undefined,
  role: undefined
})

/** What starts the hash of a token, in the place of the token itself. */
export const HASH_PREFIX = "sha256:"

/** The 32 bytes by which a token that somebody shows is compared. */
export const hashShown = (token: string): Buffer => createHash("sha256").update(token).digest()

/** The same of a token in a rule, which may be a hash already. */
export const hashKnown = (token: string): Buffer => {
  const given = token.startsWith(HASH_PREFIX) ? Buffer.from(token.slice(HASH_PREFIX.length), "hex") : undefined
  return given?.length === 32 ? given : hashShown(token)
}
