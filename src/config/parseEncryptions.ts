import { Result } from "effect"
import { Encryption } from "../domain/Encryption.ts"
import { oneOf } from "./oneOf.ts"

/** Ways to encrypt relayed streams, each at most once. */
export const parseEncryptions = (texts: ReadonlyArray<string>): Result.Result<ReadonlyArray<Encryption>, string> => {
  const parsed = [...new Set(texts)].map(encryption)
  const twice = texts.filter((text, index) => texts.indexOf(text) !== index && Result.isSuccess(encryption(text)))
  const problems = [
    ...parsed.flatMap((result) => (Result.isFailure(result) ? [result.failure] : [])),
    ...[...new Set(twice)].map((text) => `"${text}" is there more than once; keep one`)
  ]
  return problems.length === 0
    ? Result.succeed(parsed.flatMap((result) => (Result.isSuccess(result) ? [result.success] : [])))
    : Result.fail(problems.join("; "))
}

const encryption = oneOf("an encryption", Encryption.literals)
