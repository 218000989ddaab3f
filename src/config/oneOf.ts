import { Result } from "effect"
import { nearest } from "./nearest.ts"

/** One of some words, or a half sentence that has them all, and the one that was probably meant. */
export const oneOf =
  <const W extends string>(what: string, words: ReadonlyArray<W>) =>
  (text: string): Result.Result<W, string> => {
    if ((words as ReadonlyArray<string>).includes(text)) return Result.succeed(text as W)
    const meant = nearest(text, words)
    const list = words.map((word) => `"${word}"`)
    const advice = `write ${list.slice(0, -1).join(", ")} or ${list.at(-1)}`
    return Result.fail(
      `"${text}" is not ${what}; ${meant === undefined ? advice : `did you mean "${meant}"? Else ${advice}`}`
    )
  }
