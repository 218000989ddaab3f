/**
 * Who may use a control server, and for what: the rules of its tokens, which may be replaced while it runs.
 *
 * Rules are found by the hash of the token that was shown; every known one is compared, whatever is found on the way, so that
 * the time taken tells nothing. A guest has the rule that his token has now: nobody keeps an old one.
 */
import { timingSafeEqual } from "node:crypto"
import { Clock, Deferred, Effect, Redacted } from "effect"
import type { EndpointName } from "../../domain/EndpointName.ts"
import type { Role } from "../../domain/Role.ts"
import { hashKnown, hashShown, type TokenRule } from "../../domain/TokenRule.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"

export interface Refusal {
  readonly code: ErrorCode
  readonly message: string
}

/** What a token is used for. */
export interface Use {
  readonly endpoint: EndpointName
  readonly role: Role
}

/** Somebody with a token, good or not. */
export interface Guest {
  /** What his token is called, for logs. */
  readonly name: () => string | undefined
  /** Why he may not be here, or not for this use; undefined when he may. */
  readonly refusal: (use?: Use) => Effect.Effect<Refusal | undefined>
  /** Ends when he may not stay: his token is gone, has expired, or may not be used from where he is. */
  readonly expelled: Effect.Effect<Refusal>
  /** Ends when his token is not for this use any more. */
  readonly revoked: (use: Use) => Effect.Effect<Refusal>
}

export interface Access {
  /** Who shows a token. `host` tells at any time where he is. */
  readonly guest: (token: Redacted.Redacted<string>, host: () => string) => Guest
  /** Other rules from now on, for all who are here and all who will come. */
  readonly replace: (rules: ReadonlyArray<TokenRule>) => Effect.Effect<void>
}

/** Why the holder of a token may not be here, or undefined when he may. */
export const refuseEntry = (rule: TokenRule | undefined, host: string, nowMillis: number): Refusal | undefined => {
  const refuse = (message: string) => ({ code: ErrorCode.AuthenticationFailed, message })
  if (rule === undefined) return refuse("the token is not accepted; check that it is one that the server knows")
  if (!rule.addresses.allows(host)) return refuse(`the token may not be used from ${host}`)
  if (rule.expiresAt === undefined || nowMillis < rule.expiresAt) return undefined
  const token = rule.name === undefined ? "the token" : `the token ${rule.name}`
  return refuse(`${token} expired at ${new Date(rule.expiresAt).toISOString()}; get another one`)
}

/** Why a token is not for a use, or undefined when it is. */
export const refuseUse = (rule: TokenRule, { endpoint, role }: Use): Refusal | undefined => {
  if (rule.names !== undefined && !rule.names.matches(endpoint)) {
    return { code: ErrorCode.EndpointNotAllowed, message: `the token may not be used for the endpoint ${endpoint}` }
  }
  if (rule.role !== undefined && rule.role !== role) {
    return { code: ErrorCode.RoleNotAllowed, message: `the token may be used as a ${rule.role} only` }
  }
  return undefined
}

export const makeAccess = (rules: ReadonlyArray<TokenRule>): Access => {
  let current = edition(rules)

  const guest: Access["guest"] = (token, host) => {
    const hash = hashShown(Redacted.value(token))
    let seen: Edition | undefined
    let found: TokenRule | undefined
    const rule = () => {
      if (seen !== current) {
        seen = current
        found = Redacted.value(token) === "" ? undefined : find(current, hash)
      }
      return found
    }
    const refusedAt = (nowMillis: number) => refuseEntry(rule(), host(), nowMillis)
    return {
      name: () => rule()?.name,
      refusal: (use) =>
        Effect.map(Clock.currentTimeMillis, (now) => refusedAt(now) ?? (use && refuseUse(rule()!, use))),
      expelled: Effect.gen(function* () {
        while (true) {
          const { replaced } = current
          const now = yield* Clock.currentTimeMillis
          const refused = refusedAt(now)
          if (refused !== undefined) return refused
          const expiresAt = rule()?.expiresAt
          const change = Deferred.await(replaced)
          yield* expiresAt === undefined
            ? change
            : Effect.timeoutOption(change, Math.min(expiresAt - now, LOOK_EVERY_MILLIS))
        }
      }),
      revoked: Effect.fnUntraced(function* (use) {
        while (true) {
          const known = rule()
          const refused = known && refuseUse(known, use)
          if (refused !== undefined) return refused
          yield* Deferred.await(current.replaced)
        }
      })
    }
  }
  return {
    guest,
    replace: Effect.fnUntraced(function* (rules) {
      const { replaced } = current
      current = edition(rules)
      yield* logExpired(rules)
      yield* Deferred.succeed(replaced, undefined)
    })
  }
}

/** Warns of tokens that have expired already: their holders find out only when they come. */
export const logExpired = Effect.fnUntraced(function* (rules: ReadonlyArray<TokenRule>) {
  const now = yield* Clock.currentTimeMillis
  for (const [index, { name, expiresAt }] of rules.entries()) {
    if (expiresAt === undefined || now < expiresAt) continue
    yield* Effect.logWarning("token.expired").pipe(
      Effect.annotateLogs({ token: name ?? `number ${index + 1}`, at: new Date(expiresAt).toISOString() })
    )
  }
})

/** How logs call a token: by its name, if it has one. */
export const tokenOf = (guest: Guest) => {
  const name = guest.name()
  return name === undefined ? {} : { token: name }
}

/** Rules until they are replaced. */
interface Edition {
  readonly known: ReadonlyArray<{ readonly hash: Buffer; readonly rule: TokenRule }>
  readonly replaced: Deferred.Deferred<void>
}

const edition = (rules: ReadonlyArray<TokenRule>): Edition => ({
  known: rules.map((rule) => ({ hash: hashKnown(Redacted.value(rule.token)), rule })),
  replaced: Deferred.makeUnsafe()
})

const find = ({ known }: Edition, wanted: Buffer): TokenRule | undefined => {
  let found: TokenRule | undefined
  for (const { hash, rule } of known) found = timingSafeEqual(hash, wanted) ? rule : found
  return found
}

/** An expiry is not waited for any longer without another look at the clock, which may be set meanwhile. */
const LOOK_EVERY_MILLIS = 60_000
