/** The tokens that open a server, compared so that the time taken tells nothing about them. */
import { createHash, timingSafeEqual } from "node:crypto"
import { Redacted } from "effect"

export interface Tokens {
  /** Whether it is one of them. Every token is compared, whatever is found on the way. */
  readonly accepts: (token: Redacted.Redacted<string>) => boolean
}

const HASHED = "sha256:"

const hash = (text: string): Buffer => createHash("sha256").update(text).digest()

/** @param tokens each a token, or `sha256:` and the hash of one in hex */
export const makeTokens = (tokens: ReadonlyArray<Redacted.Redacted<string>>): Tokens => {
  const hashes = tokens.map(Redacted.value).map((text) => {
    const hashed = text.startsWith(HASHED) ? Buffer.from(text.slice(HASHED.length), "hex") : undefined
    return hashed?.length === 32 ? hashed : hash(text)
  })
  return {
    accepts: (token) => {
      const wanted = hash(Redacted.value(token))
      let found = false
      for (const known of hashes) found = timingSafeEqual(known, wanted) || found
      return found && Redacted.value(token) !== ""
    }
  }
}
