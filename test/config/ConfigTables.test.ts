import { basename } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { ConfigReason } from "../../src/config/ConfigError.ts"
import { fold } from "../../src/config/fold.ts"
import type { HostPort } from "../../src/config/HostPort.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { type GoldenCase, golden, type Role, runCase } from "./golden.ts"

/** Where we refuse what upstream takes. */
const STRICTER: ReadonlyMap<number, string> = new Map([
  [8, "a second ingress without address is refused, where upstream gives it a port that nobody knows"],
  [11, "a second relay ingress of a server without address is refused"],
  [15, "control without any ingress is refused, where upstream starts and nobody can connect"],
  [20, "a second ingress of a relay without address is refused"],
  [67, "control without any ingress is refused, whatever else it has"],
  [137, "an empty endpoint name is refused"],
  [195, "an encryption that is there twice is refused"],
  [207, "a query behind a tcp URL is refused, where upstream ignores it"],
  [208, "a user in a tcp URL is refused, where upstream ignores it"],
  [209, "a port above 65535 is refused when the configuration is read, not when it is dialed"],
  [331, "control without any ingress is refused, whatever else it has"],
  [240, "a negative dial timeout is refused"],
  [244, "a key without its certificate is refused"],
  [245, "files for TLS are refused where there is none"],
  [278, "files for TLS are refused where there is none"],
  [288, "a maximum without a retry that has one is refused"],
  [294, "a maximum without a retry that has one is refused"],
  [295, "a negative maximum is refused"],
  [308, "a token that is there twice is refused, where upstream takes the rules of the last one"],
  [330, "control without any ingress is refused, whatever else it has"]
])

/** Where we make something else of it. */
const OTHERWISE: ReadonlyMap<number, { because: string; effective: Record<string, unknown> }> = new Map([
  [23, { because: "blank lines of a token file are ignored, the first one too", effective: { token: "second" } }],
  [160, { because: "a long token is taken", effective: { token: "x".repeat(60_000) } }],
  [
    197,
    {
      because: "a destination without host is on this machine",
      effective: {
        destinations: {
          d: {
            route: "any",
            proxy: "none",
            relay_encryptions: ["tls", "dhxcp"],
            dial_timeout_ns: 0,
            target: { scheme: "tcp", host_port: "localhost:22" }
          }
        }
      }
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

/** What we take where upstream refuses it. */
const MORE: ReadonlyMap<number, string> = new Map([
  [5, "a server without a certificate makes one for itself"],
  [298, "an ingress without a certificate has the one that the server makes for itself"],
  [222, "a Unix socket is a service, too"],
  [311, "a blank line of a tokens file is no token, so that it needs no restriction"]
])

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
