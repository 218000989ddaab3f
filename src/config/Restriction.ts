/** Rules as they are written: who may enter an ingress, and what may be done with a token. */
import { Effect, Result } from "effect"
import { type AddressRules, makeAddressRules, parseAddressRange } from "../domain/AddressRules.ts"
import { Role } from "../domain/Role.ts"
import type { TokenRule } from "../domain/TokenRule.ts"
import type { ConfigReason } from "./ConfigError.ts"
import { oneOf } from "./oneOf.ts"
import { parseNamePattern } from "./parseNamePattern.ts"
import { all, type Checked, checkedTogether } from "./together.ts"

export interface WrittenAddresses {
  readonly "allow-cidrs"?: ReadonlyArray<string>
  readonly "deny-cidrs"?: ReadonlyArray<string>
}

export interface WrittenRestriction extends WrittenAddresses {
  readonly "name-matches"?: string
  readonly "role-matches"?: string
}

/** What a restriction says about a token. */
export type Restriction = Pick<TokenRule, "addresses" | "names" | "role">

/** Makes a reason of what is wrong with a key. */
type Problem<Key> = (key: Key, detail: string) => ConfigReason

export const checkAddresses = (
  written: WrittenAddresses,
  problem: Problem<keyof WrittenAddresses>
): Checked<AddressRules> => {
  const ranges = (key: keyof WrittenAddresses) =>
    all((written[key] ?? []).map((text) => Result.mapError(parseAddressRange(text), (detail) => problem(key, detail))))
  const lists = checkedTogether({ allow: ranges("allow-cidrs"), deny: ranges("deny-cidrs") })
  return Result.map(lists, ({ allow, deny }) => makeAddressRules(allow, deny))
}

export const checkRestriction = Effect.fnUntraced(function* (
  written: WrittenRestriction,
  problem: Problem<keyof WrittenRestriction>
) {
  const { "name-matches": expression = "", "role-matches": role = "" } = written
  const pattern = expression === "" ? Effect.undefined : parseNamePattern(expression)
  const checked: Checked<Restriction> = checkedTogether({
    addresses: checkAddresses(written, problem),
    names: yield* Effect.result(Effect.mapError(pattern, (detail) => problem("name-matches", detail))),
    role: checkRole(role, problem)
  })
  return checked
})

const checkRole = (text: string, problem: Problem<"role-matches">): Checked<Role | undefined> =>
  text === ""
    ? Result.succeed(undefined)
    : Result.mapError(oneOf("a role", Role.literals)(text), (detail) => problem("role-matches", detail))
