import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted, Result } from "effect"
import { TestClock } from "effect/testing"
import { makeAccess, refuseEntry, refuseUse, type Use } from "../../../src/directory/server/Access.ts"
import { type AddressRules, makeAddressRules, parseAddressRange } from "../../../src/domain/AddressRules.ts"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import type { Role } from "../../../src/domain/Role.ts"
import { type TokenRule, unrestricted } from "../../../src/domain/TokenRule.ts"

interface RecordedToken {
  readonly token: string
  readonly allow?: ReadonlyArray<string>
  readonly deny?: ReadonlyArray<string>
  readonly name_matches?: string
  readonly role?: Role
}

interface Recorded {
  readonly tokens: ReadonlyArray<RecordedToken>
  readonly authenticate: ReadonlyArray<{ readonly token: string; readonly address: string; readonly code?: number }>
  readonly validate?: ReadonlyArray<{
    readonly token: string
    readonly endpoint: string
    readonly role: number
    readonly code?: number
  }>
}

const recorded = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "..", "fixtures", "restrictions.json"), "utf8")
) as { readonly client_tokens: Recorded; readonly relay_tokens: Recorded }

const addresses = (allow: ReadonlyArray<string> = [], deny: ReadonlyArray<string> = []) => {
  const parse = (texts: ReadonlyArray<string>) => texts.map((text) => Result.getOrThrow(parseAddressRange(text)))
  return makeAddressRules(parse(allow), parse(deny))
}

const token = (text: string, rule: Partial<TokenRule> = {}): TokenRule => ({
  ...unrestricted(Redacted.make(text)),
  ...rule
})

const names = (expression: string) => ({ expression, matches: (name: string) => new RegExp(expression).test(name) })

const fromRecorded = ({ token: text, allow, deny, name_matches: pattern, role }: RecordedToken) =>
  token(text, { addresses: addresses(allow, deny), names: pattern ? names(pattern) : undefined, role })

const guest = (rules: ReadonlyArray<TokenRule>, shown: string, host = "192.0.2.1") =>
  makeAccess(rules).guest(Redacted.make(shown), () => host)

const codeOf = (rules: ReadonlyArray<TokenRule>, shown: string, host?: string, use?: Use) =>
  Effect.map(guest(rules, shown, host).refusal(use), (refusal) => refusal?.code)

describe("the tokens of clients and relays, as upstream takes them", () => {
  for (const [whose, { tokens, authenticate, validate = [] }] of Object.entries({
    clients: recorded.client_tokens,
    relays: recorded.relay_tokens
  })) {
    const rules = tokens.map(fromRecorded)
    for (const { token, address, code } of authenticate) {
      const empty = token === "" ? ": the empty token never enters, otherwise than upstream" : ""
      it.effect(`${whose}: ${JSON.stringify(token)} from ${address}${empty}`, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* codeOf(rules, token, address), token === "" ? 100 : code)
        })
      )
    }
    // A message without a known role is refused before anybody is asked.
    for (const { token, endpoint, role, code } of validate.filter(({ role }) => role !== 0)) {
      const use = { endpoint: endpoint as EndpointName, role: role === 1 ? "destination" : "source" } as const
      it.effect(`${whose}: ${JSON.stringify(token)} for the ${use.role} ${endpoint}`, () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* codeOf(rules, token, "10.0.0.1", use), token === "" ? 100 : code)
        })
      )
    }
  }
})

describe("what a token allows", () => {
  /** The same in other words: lists of who may. */
  const HOSTS = { "10.1.1.1": "lan", "10.9.0.1": "guests", "192.0.2.1": "out", "fe80::1%eth0": "link" } as const
  const ADDRESSES = [
    { rules: addresses(), may: ["lan", "guests", "out", "link"] },
    { rules: addresses(["10.0.0.0/8"]), may: ["lan", "guests"] },
    { rules: addresses(["10.0.0.0/8"], ["10.9.0.0/16"]), may: ["lan"] },
    { rules: addresses([], ["10.0.0.0/8", "fe80::/10"]), may: ["out"] },
    { rules: addresses(["fe80::/10"]), may: ["link"] }
  ]
  const NAMES = [
    { pattern: undefined, may: ["web-1", "ssh", "my-web"] },
    { pattern: names("web"), may: ["web-1", "my-web"] },
    { pattern: names("^web-"), may: ["web-1"] }
  ]
  const ROLES = [
    { role: undefined, may: ["source", "destination"] },
    { role: "source", may: ["source"] },
    { role: "destination", may: ["destination"] }
  ] as const

  const DOORS = ADDRESSES.slice(0, 3)
  const ENDPOINTS = ["web-1", "ssh", "my-web"] as unknown as ReadonlyArray<EndpointName>

  /** What becomes of somebody who comes in through a door with a token for a use; 0: he is not let in through it. */
  const outcome = (door: AddressRules, rule: TokenRule, host: string, use: Use) =>
    door.allows(host) ? (refuseEntry(rule, host, 0) ?? refuseUse(rule, use))?.code : 0

  it("is where, what and how, each by itself, in every combination", () => {
    let looked = 0
    for (const door of DOORS)
      for (const from of ADDRESSES)
        for (const named of NAMES)
          for (const as of ROLES) {
            const rule = token("t", { addresses: from.rules, names: named.pattern, role: as.role })
            for (const [host, place] of Object.entries(HOSTS))
              for (const endpoint of ENDPOINTS)
                for (const role of ["source", "destination"] as const) {
                  const reasons = [
                    ...(door.may.includes(place) ? [] : [0]),
                    ...(from.may.includes(place) ? [] : [100]),
                    ...(named.may.includes(endpoint) ? [] : [101]),
                    ...(as.may.some((may) => may === role) ? [] : [102])
                  ]
                  assert.strictEqual(outcome(door.rules, rule, host, { endpoint, role }), reasons[0])
                  looked++
                }
          }
    assert.strictEqual(looked, 3 * 5 * 3 * 3 * 4 * 3 * 2)
  })

  it("ends at its expiry, which its holder is told with the name of the token", () => {
    const rule = token("secret", { name: "laptop", expiresAt: Date.parse("2027-02-01T00:00:00Z") })
    assert.isUndefined(refuseEntry(rule, "192.0.2.1", Date.parse("2027-01-31T23:59:59.999Z")))
    const refused = refuseEntry(rule, "192.0.2.1", Date.parse("2027-02-01T00:00:00Z"))
    assert.deepInclude(refused, { code: 100 })
    assert.match(refused!.message, /the token laptop expired at 2027-02-01T00:00:00/)
  })

  it("is not told to whoever shows it from where it may not be used", () => {
    const rule = token("secret", { name: "laptop", expiresAt: 0, addresses: addresses(["10.0.0.0/8"]) })
    assert.strictEqual(refuseEntry(rule, "192.0.2.1", 1)?.message, "the token may not be used from 192.0.2.1")
  })
})

describe("a guest", () => {
  const hash = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`

  it.effect("enters with a token that is known by its hash, which is no token itself", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* codeOf([token(hash("secret"))], "secret"))
      assert.strictEqual(yield* codeOf([token(hash("secret"))], hash("secret")), 100)
    })
  )

  it.effect("without a token, or with a part of one, never enters", () =>
    Effect.gen(function* () {
      for (const known of ["", "first"]) {
        for (const shown of ["", "firs", "first "]) assert.strictEqual(yield* codeOf([token(known)], shown), 100)
      }
    })
  )

  it.effect("has the rule that his token has now", () =>
    Effect.gen(function* () {
      const access = makeAccess([token("t", { name: "old", role: "source" })])
      const holder = access.guest(Redacted.make("t"), () => "192.0.2.1")
      const use = { endpoint: "web" as EndpointName, role: "destination" } as const
      assert.deepEqual([holder.name(), (yield* holder.refusal(use))?.code], ["old", 102])
      yield* access.replace([token("other"), token("t", { name: "new" })])
      assert.deepEqual([holder.name(), yield* holder.refusal(use)], ["new", undefined])
    })
  )

  it.effect("is expelled when his token is taken away, and not by any other change", () =>
    Effect.gen(function* () {
      const access = makeAccess([token("t"), token("other")])
      const expelled = yield* access
        .guest(Redacted.make("t"), () => "192.0.2.1")
        .expelled.pipe(Effect.forkChild({ startImmediately: true }))
      yield* access.replace([token("t", { role: "source", addresses: addresses(["192.0.2.0/24"]) })])
      yield* Effect.yieldNow
      assert.isUndefined(expelled.pollUnsafe())
      yield* access.replace([token("other")])
      assert.strictEqual((yield* Fiber.join(expelled)).code, 100)
    })
  )

  it.effect("is expelled when he is where his token may not be used any more", () =>
    Effect.gen(function* () {
      let host = "192.0.2.1"
      const access = makeAccess([token("t")])
      const expelled = yield* access
        .guest(Redacted.make("t"), () => host)
        .expelled.pipe(Effect.forkChild({ startImmediately: true }))
      host = "198.51.100.1"
      yield* access.replace([token("t", { addresses: addresses(["192.0.2.0/24"]) })])
      assert.match((yield* Fiber.join(expelled)).message, /not be used from 198\.51\.100\.1/)
    })
  )

  it.effect("is expelled when his token expires, be that in an hour or in a week", () =>
    Effect.gen(function* () {
      for (const millis of [3_600_000, 7 * 86_400_000]) {
        const now = yield* TestClock.testClockWith((clock) => Effect.succeed(clock.currentTimeMillisUnsafe()))
        const expelled = yield* guest([token("t", { name: "laptop", expiresAt: now + millis })], "t").expelled.pipe(
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(millis - 1)
        assert.isUndefined(expelled.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.match((yield* Fiber.join(expelled)).message, /the token laptop expired/)
      }
    })
  )

  it.effect("stays when the expiry is put off", () =>
    Effect.gen(function* () {
      const access = makeAccess([token("t", { expiresAt: 60_000 })])
      const expelled = yield* access
        .guest(Redacted.make("t"), () => "192.0.2.1")
        .expelled.pipe(Effect.forkChild({ startImmediately: true }))
      yield* TestClock.adjust(59_000)
      yield* access.replace([token("t", { expiresAt: 120_000 })])
      yield* TestClock.adjust(60_000)
      assert.isUndefined(expelled.pollUnsafe())
      yield* TestClock.adjust(1_000)
      yield* Fiber.join(expelled)
    })
  )
})
