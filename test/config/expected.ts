/** What upstream's cases amount to here: its results, but for what is another default or another form on purpose. */
import { basename } from "node:path"
import { assert } from "@effect/vitest"
import type { CertsError } from "../../src/certs/CertsError.ts"
import { ConfigError } from "../../src/config/ConfigError.ts"
import type { HostPort } from "../../src/config/HostPort.ts"
import { OTHER_KEYS, OTHERWISE } from "./differences.ts"
import type { GoldenCase } from "./golden.ts"

/** The error names the key that is wrong, and every unknown key. */
export const checkError = (golden: GoldenCase, error: ConfigError | CertsError) => {
  const { keys } = golden.result
  const key = OTHER_KEYS.get(golden.id)?.key ?? golden.result.key
  const reasons = error instanceof ConfigError ? error.reasons : []
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

/** What a case amounts to here. */
export const expected = (golden: GoldenCase) => {
  const effective = golden.result.effective
  if (effective === undefined) return undefined
  return {
    ...effective,
    ...timeout(effective),
    ...encryptions(golden, effective),
    ...hostports(effective),
    ...store(effective),
    ...OTHERWISE.get(golden.id)?.effective
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

/** Without a folder nothing is kept, where upstream makes a new one at each start, which comes to the same. */
const store = ({ store_dir: folder }: Effective) =>
  typeof folder === "object" && folder !== null ? { store_dir: null } : {}

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
