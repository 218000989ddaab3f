/** The reference of settings has every setting, with its type, default and flags, and no other. */
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import { parse } from "smol-toml"
import { clientFlags, controlFlags, relayFlags, serverFlags } from "../../src/cli/flags.ts"
import { ConfigTables, type RoleName } from "../../src/config/ConfigTables.ts"
import { printed } from "../../src/config/effective.ts"
import { SOCKET_BUFFER_BYTES } from "../../src/transport/quic/internal/limits.ts"
import { IDLE_TIMEOUT_MILLIS } from "../../src/transport/tcp/internal/limits.ts"
import { connet } from "../cli/commandLine.ts"
import { MORE, OTHER_KEYS, OTHERWISE, STRICTER } from "../config/differences.ts"
import { folder, golden } from "../config/golden.ts"
import { blocks, codes, ROOT, read, tableBelow } from "./documents.ts"

const DOCUMENT = "docs/config.md"
const ROLES: ReadonlyArray<RoleName> = ["client", "server", "control", "relay"]

interface Row {
  readonly key: string
  readonly type: string
  readonly defaults: ReadonlyArray<string>
  readonly flags: ReadonlyArray<string>
  readonly upstream: string
}

/** A heading of the reference with the tables that it is about, and the rows below it. */
interface Section {
  readonly paths: ReadonlyArray<ReadonlyArray<string>>
  readonly rows: ReadonlyArray<Row>
}

const rowsOf = (heading: string): ReadonlyArray<Row> =>
  tableBelow(DOCUMENT, heading).map(([key = "", type = "", defaults = "", flags = "", upstream = ""]) => ({
    key: codes(key).join(),
    type,
    // A default that says where to look is a key or a variable, and compared by nobody.
    defaults: codes(defaults).filter((code) => !/^([A-Z_]+|[a-z]+-[a-z-]+)$/.test(code)),
    flags: codes(flags),
    upstream
  }))

const SECTIONS: ReadonlyArray<Section> = [
  { paths: [[]], rows: rowsOf("At the top of a file") },
  ...[...read(DOCUMENT).matchAll(/^### (`\[.*)$/gm)].map(([, heading]) => ({
    paths: codes(heading!).map((code) => code.replaceAll(/[[\]]/g, "").replace("<name>", "*").split(".")),
    rows: rowsOf(heading!)
  }))
]

interface Shape {
  readonly fields?: Readonly<Record<string, Shape>>
  readonly key?: unknown
  readonly value?: Shape
  readonly schema?: Shape
}

/** What a key of the schema is, within optional keys, arrays and records. */
const within = (shape: Shape): { readonly type: string; readonly fields: Shape["fields"] } => {
  if (shape.schema !== undefined && shape.fields === undefined) return within(shape.schema)
  if (shape.fields !== undefined) return { type: "table", fields: shape.fields }
  const inner = shape.value?.fields
  if (inner !== undefined) return { type: shape.key === undefined ? "array of tables" : "tables", fields: inner }
  const takes = (value: unknown) => Result.isSuccess(Schema.decodeUnknownResult(shape as Schema.Codec<unknown>)(value))
  const type = takes("30s") && !takes("thirty") ? "duration" : Object.entries(VALUES).find(([, value]) => takes(value))
  return { type: typeof type === "string" ? type : type![0], fields: undefined }
}

const VALUES = { text: "thirty", list: ["thirty"], "true or false": true, "whole number": 30n }

/** Each table of the schema by its path, with the types of its keys. */
const TABLES = new Map<string, Readonly<Record<string, string>>>()
const walk = (fields: Readonly<Record<string, Shape>>, path: ReadonlyArray<string>) => {
  TABLES.set(
    path.join("."),
    Object.fromEntries(Object.entries(fields).map(([key, shape]) => [key, within(shape).type]))
  )
  for (const [key, shape] of Object.entries(fields)) {
    const { type, fields: inner } = within(shape)
    if (inner !== undefined) walk(inner, type === "tables" ? [...path, key, "*"] : [...path, key])
  }
}
walk(ConfigTables.fields as Readonly<Record<string, Shape>>, [])

/** What holds without any settings, for a client with one endpoint of each kind. */
const endpoint = { "*": { url: "" } }
const EFFECTIVE = {
  ...parse(printed([{ origin: "", tables: { client: { destinations: endpoint, sources: endpoint } } }], ROLES))
}
/** What the transport does where no setting says otherwise. */
const TUNING = {
  "congestion-control": "bbr",
  "receive-buffer": SOCKET_BUFFER_BYTES,
  "send-buffer": SOCKET_BUFFER_BYTES,
  "idle-timeout": `${IDLE_TIMEOUT_MILLIS / 1_000}s`
}

const defaultOf = (path: ReadonlyArray<string>, key: string): string | undefined => {
  if (path.at(-1) === "tuning") return String(TUNING[key as keyof typeof TUNING])
  const table = path.reduce<unknown>((value, name) => {
    const inner = (value as Record<string, unknown> | undefined)?.[name]
    return Array.isArray(inner) ? inner[0] : inner
  }, EFFECTIVE)
  const value = (table as Record<string, unknown> | undefined)?.[key]
  if (value === undefined || key === "url" || (typeof value === "object" && !Array.isArray(value))) return undefined
  if (!Array.isArray(value)) return String(value)
  return typeof value[0] === "string" ? `[${value.map((item) => JSON.stringify(item)).join(", ")}]` : undefined
}

const FLAGS: Readonly<Record<RoleName, ReadonlyArray<string>>> = {
  client: Object.keys(clientFlags),
  server: Object.keys(serverFlags),
  control: Object.keys(controlFlags),
  relay: Object.keys(relayFlags)
}

describe("the reference of settings", () => {
  it("has a table for each table of the schema, with each of its keys and their types", () => {
    const documented = SECTIONS.flatMap(({ paths, rows }) =>
      paths.map((path) => [path.join("."), Object.fromEntries(rows.map(({ key, type }) => [key, type]))] as const)
    )
    assert.deepEqual(Object.fromEntries(documented), Object.fromEntries(TABLES))
    for (const { rows } of SECTIONS) assert.lengthOf(new Set(rows.map(({ key }) => key)), rows.length)
  })

  it("tells the defaults", () => {
    const documented = SECTIONS.flatMap(({ paths, rows }) =>
      rows.map(({ key, defaults }) => `${paths.join()} ${key}: ${defaults.join()}`)
    )
    const actual = SECTIONS.flatMap(({ paths, rows }) =>
      rows.map(({ key }) => {
        const values = new Set(paths.map((path) => defaultOf(path, key)).filter((value) => value !== undefined))
        return `${paths.join()} ${key}: ${[...values].join()}`
      })
    )
    assert.deepEqual(documented, actual)
    assert.match(documented.join("\n"), /client handshake-idle-timeout: 5s/)
  })

  it("names every flag that stands for a setting, and no other", () => {
    for (const role of ROLES) {
      const sections = SECTIONS.filter(({ paths }) => paths.some(([first]) => first === role))
      const documented = new Set(sections.flatMap(({ rows }) => rows.flatMap(({ flags }) => flags)))
      for (const flag of FLAGS[role]) assert.include([...documented], `--${flag}`, `of ${role}`)
    }
    const known = new Set(["log-level", "log-format", ...Object.values(FLAGS).flat()].map((flag) => `--${flag}`))
    for (const { paths, rows } of SECTIONS) {
      const roles = ROLES.filter((role) => paths.some(([first]) => first === role))
      for (const flag of rows.flatMap(({ flags }) => flags)) {
        assert.isTrue(
          roles.length === 0 ? known.has(flag) : roles.some((role) => FLAGS[role].includes(flag.slice(2))),
          `${flag} of ${paths.join()}`
        )
      }
    }
  })

  it("calls nothing ours that upstream has", () => {
    const upstreams = new Set<string>()
    const collect = (value: unknown, path: ReadonlyArray<string>): void => {
      if (Array.isArray(value)) for (const item of value) collect(item, path)
      else if (typeof value === "object" && value !== null) {
        const isNamed = path.length === 2 && /^(destinations|sources)$/.test(path[1]!)
        for (const [key, item] of Object.entries(value)) {
          const next = [...path, isNamed ? "*" : key]
          upstreams.add(next.join("."))
          collect(item, next)
        }
      }
    }
    for (const { command, merged } of golden.cases) if (command !== "check") collect(merged, [command])
    assert.isAbove(upstreams.size, 60)
    for (const { paths, rows } of SECTIONS) {
      for (const { key, upstream } of rows) {
        assert.match(upstream, /^(yes|no)$/)
        const has = paths.some((path) => upstreams.has([...path, key].join(".")))
        if (upstream === "no") assert.isFalse(has, `${paths.join()} ${key}`)
      }
    }
  })

  it("names the environment variables that are read", () => {
    const source = ["src/cli", "src/config", "src/domain"]
      .flatMap((folder) => readdirSync(join(ROOT, folder)).map((file) => join(folder, file)))
      .filter((file) => file.endsWith(".ts"))
      .map(read)
      .join("\n")
    const variables = [...source.matchAll(/"([A-Za-z_]+_(?:TOKEN|DIR|DIRECTORY|HOME|PROXY|proxy)|CONNET_\w+|HOME)"/g)]
    const documented = tableBelow(DOCUMENT, "Environment").flatMap(([names = ""]) => codes(names))
    assert.deepEqual(
      [...new Set(documented)].filter((name) => name !== ".cache" && name !== ".local/state").sort(),
      [...new Set(variables.map(([, name]) => name!))].sort()
    )
  })

  it("tells every difference from upstream that the recorded cases show", () => {
    const otherwise = [...OTHERWISE.values(), ...OTHER_KEYS.values()].map(({ because }) => because)
    const reasons = [...STRICTER.values(), ...otherwise, ...MORE.values()]
    for (const reason of reasons) assert.include(read(DOCUMENT), `\n- ${reason}\n`)
  })

  it.effect("shows messages as they are", () =>
    Effect.gen(function* () {
      const toml = `[client]\ntoken = "t"\nsever-addr = "s"\n\n[client.sources.web]\nurl = "tcp://localhost"\nroute = "dirct"\n`
      const path = yield* folder({ "client.toml": toml })
      const { stderr } = yield* connet("check", join(path, "client.toml"))
      const [shown] = blocks(DOCUMENT).filter(({ language }) => language === "text")
      assert.strictEqual(stderr.replaceAll(`${path}/`, ""), shown!.text)
    })
  )
})
