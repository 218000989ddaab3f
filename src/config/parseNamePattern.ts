import { Effect } from "effect"
import type { NamePattern } from "../domain/TokenRule.ts"

/**
 * A regular expression (RE2, as upstream's) that a name must match somewhere, or what is wrong with it. It costs time in
 * proportion to the name, whatever is written. The engine is loaded with the first expression, so that nobody else waits
 * for it.
 */
export const parseNamePattern = (expression: string): Effect.Effect<NamePattern, string> =>
  Effect.flatMap(
    Effect.promise(() => import("re2js")),
    ({ RE2JS }) =>
      Effect.try({
        try: () => {
          const compiled = RE2JS.compile(expression)
          return { expression, matches: (name) => compiled.test(name) } satisfies NamePattern
        },
        catch: (error) => {
          const detail = (error as Error).message.replace(/^error parsing regexp: /, "")
          return `"${expression}" is no regular expression (RE2): ${detail}; write one like ^web-`
        }
      })
  )
