import { Result } from "effect"
import { Encryption } from "../domain/Encryption.ts"

/** Ways to encrypt relayed streams, each at most once. */
export const parseEncryptions = (texts: ReadonlyArray<string>): Result.Result<ReadonlyArray<Encryption>, string> => {
  const unknown = texts.filter((text) => !isEncryption(text))
  const twice = texts.filter((text, index) => isEncryption(text) && texts.indexOf(text) !== index)
  const problems = [
    ...[...new Set(unknown)].map((text) => `"${text}" is not an encryption; write "none", "tls" or "dhxcp"`),
    ...[...new Set(twice)].map((text) => `"${text}" is there more than once; keep one`)
  ]
  return problems.length === 0 ? Result.succeed(texts.filter(isEncryption)) : Result.fail(problems.join("; "))
}

const isEncryption = (text: string): text is Encryption => (Encryption.literals as ReadonlyArray<string>).includes(text)
