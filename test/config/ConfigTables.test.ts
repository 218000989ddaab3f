import { basename } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { ConfigReason } from "../../src/config/ConfigError.ts"
import { fold } from "../../src/config/fold.ts"
import type { HostPort } from "../../src/config/HostPort.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { MORE, OTHERWISE, STRICTER } from "./differences.ts"
import { type GoldenCase, golden, type Role, runCase } from "./golden.ts"

/** The error names the key that is wrong, and every unknown key. */
const checkError = (golden: GoldenCase, reasons: ReadonlyArray<ConfigReason>) => {
  const { key, keys } = golden.result
  if (keys !== undefined) {
    assert.deepStrictEqual(
      // Upstream does not count the tables of an array.
      reasons.map((reason) => (reason._tag === "KeyUnknown" ? reason.key.replace(/\[\d+\]/, "") : reason._tag)),
      keys
    )
  } else if (key !== undefined && golden.result.kind !== "bad-toml-or-value") {
    assert.include(
      reasons.flatMap((reason) => [
        "key" in reason ? reason.key : "",
        "origin" in reason ? basename(reason.origin) : ""
      ]),
      key
    )
  }
}

const expected = (golden: GoldenCase, otherwise: Record<string, unknown> = {}) => {
  const effective = golden.result.effective
  if (effective === undefined) return undefined
  return {
    ...effective,
    ...timeout(effective),
    ...encryptions(golden, effective),
    ...hostports(effective),
    ...otherwise
  }
}

type Effective = Readonly<Record<string, unknown>>

/** Upstream leaves 0 to its QUIC library, whose default is 5 s. */
const timeout = ({ handshake_idle_timeout_ns: nanos }: Effective) =>
  nanos === 0 ? { handshake_idle_timeout_ns: 5_000_000_000 } : {}

/** Where no encryption is configured, upstream's relays can read what they carry. */
const encryptions = ({ merged = {} }: GoldenCase, effective: Effective) =>
  Object.fromEntries(
    ["destinations", "sources"].flatMap((kind) => {
      if (effective[kind] === undefined) return []
      const tables = (merged[kind] ?? {}) as Record<string, Effective>
      const endpoints = Object.entries(effective[kind] as Record<string, Effective>).map(([name, endpoint]) => {
        const configured = merged["relay-encryptions"] ?? tables[name]?.["relay-encryptions"]
        return [name, configured === undefined ? { ...endpoint, relay_encryptions: ["tls", "dhxcp"] } : endpoint]
      })
      return [[kind, Object.fromEntries(endpoints)]]
    })
  )

/** An ingress without hostports is found on this machine, where upstream advertises nothing; IPv6 has no brackets. */
const hostports = (effective: Effective) =>
  Object.fromEntries(
    ["ingress", "relay_ingress"].flatMap((kind) => {
      const ingresses = effective[kind] as
        | ReadonlyArray<{ listen: string; advertise: ReadonlyArray<HostPort> }>
        | undefined
      const ours = ingresses?.map(({ listen, advertise, ...rules }) => ({
        ...rules,
        listen,
        advertise:
          advertise.length === 0
            ? [{ host: "localhost", port: Number(listen.split(":")[1]) }]
            : advertise.map(({ host, port }) => ({ host: host.replace(/^\[|\]$/g, ""), port }))
      }))
      return ours === undefined ? [] : [[kind, ours]]
    })
  )

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
    it.effect(`${it_.id}: ${stricter ?? other?.because ?? MORE.get(it_.id) ?? `${it_.note}, as upstream`}`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.result(runCase(it_, []))
        if (MORE.has(it_.id)) return assert.isTrue(Result.isSuccess(result))
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
      assert.deepStrictEqual(plain(folded[it_.command as Role] ?? {}), it_.merged)
    })
  }
})
