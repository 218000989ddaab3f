import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { ConfigReason } from "../../src/config/ConfigError.ts"
import { fold } from "../../src/config/fold.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { type GoldenCase, golden, runCase } from "./golden.ts"

/** Where we refuse what upstream takes. */
const STRICTER: ReadonlyMap<number, string> = new Map([
  [8, "a second ingress without address is refused, where upstream gives it a port that nobody knows"],
  [137, "an empty endpoint name is refused"],
  [207, "a query behind a tcp URL is refused, where upstream ignores it"],
  [208, "a user in a tcp URL is refused, where upstream ignores it"],
  [209, "a port above 65535 is refused when the configuration is read, not when it is dialed"],
  [240, "a negative dial timeout is refused"]
])

/** Where we make something else of it. */
const OTHERWISE: ReadonlyMap<number, { because: string; effective: Record<string, unknown> }> = new Map([
  [23, { because: "blank lines of a token file are ignored, the first one too", effective: { token: "second" } }],
  [160, { because: "a long token is taken", effective: { token: "x".repeat(60_000) } }],
  [
    197,
    {
      because: "a destination without host is on this machine",
      effective: { destinations: { d: { route: "any", dial_timeout_ns: 0, host_port: "localhost:22" } } }
    }
  ],
  [
    306,
    {
      because: "tokens of a file are trimmed, and blank lines are no tokens",
      effective: { tokens: ["one", "two", "three"] }
    }
  ]
])

/** The error names the key that is wrong, and every unknown key. */
const checkError = (golden: GoldenCase, reasons: ReadonlyArray<ConfigReason>) => {
  const { key, keys } = golden.result
  if (keys !== undefined) {
    assert.deepStrictEqual(
      reasons.map((reason) => (reason._tag === "KeyUnknown" ? reason.key : reason._tag)),
      keys
    )
  } else if (key !== undefined && golden.result.kind !== "bad-toml-or-value") {
    assert.include(
      reasons.map((reason) => ("key" in reason ? reason.key : "")),
      key
    )
  }
}

const expected = (golden: GoldenCase, otherwise: Record<string, unknown> = {}) => {
  const effective = golden.result.effective
  if (effective === undefined) return undefined
  // Upstream leaves 0 to its QUIC library, whose default is 5 s.
  const timeout = Number(effective.handshake_idle_timeout_ns)
  const defaults =
    golden.command === "client" ? { handshake_idle_timeout_ns: timeout > 0 ? timeout : 5_000_000_000 } : {}
  return { ...effective, ...defaults, ...otherwise }
}

/** Folded tables as the fixture writes them: durations are numbers, and what is empty is left out. */
const plain = (value: unknown): unknown => {
  if (typeof value === "bigint") return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== "" && item !== 0n && item !== false && !(Array.isArray(item) && item.length === 0))
      .map(([key, item]) => [key, plain(item)])
  )
}

describe("configuration files", () => {
  for (const it_ of golden.cases.filter(({ flags }) => flags === undefined)) {
    const stricter = STRICTER.get(it_.id)
    const other = OTHERWISE.get(it_.id)
    it.effect(`${it_.id}: ${stricter ?? other?.because ?? `${it_.note}, as upstream`}`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.result(runCase(it_, []))
        if (stricter !== undefined || !it_.result.ok) {
          if (Result.isSuccess(result)) return assert.fail(`accepted: ${JSON.stringify(result.success)}`)
          checkError(it_, result.failure.reasons)
        } else {
          if (Result.isFailure(result)) return assert.fail(result.failure.message)
          assert.deepStrictEqual<unknown>(result.success.effective, expected(it_, other?.effective))
        }
      })
    )
  }

  for (const it_ of golden.cases.filter(({ flags, merged }) => flags === undefined && merged !== undefined)) {
    it(`${it_.id}: ${it_.note}, folds as upstream`, () => {
      const folded = fold(
        it_.files.map(({ name, toml }) => Result.getOrThrowWith(parseFile(name, toml!), (errors) => errors[0]!))
      )
      assert.deepStrictEqual(plain(folded[it_.command as "client" | "server"] ?? {}), it_.merged)
    })
  }
})
