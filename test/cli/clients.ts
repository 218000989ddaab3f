/** Clients of a stage, as real processes with endpoints of a test's own. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { startProcess } from "./Process.ts"

/** Settings of an endpoint by their keys. */
export type Settings = Readonly<Record<string, string | number | boolean>>

export interface Endpoints {
  readonly destinations?: Readonly<Record<string, Settings>>
  readonly sources?: Readonly<Record<string, Settings>>
}

/** Starts a client of the server at a port of this machine; its file and its certificates are in the folder; `inside` is a command that becomes it. */
export const startClient = Effect.fnUntraced(function* (
  { path, ports }: { readonly path: string; readonly ports: { readonly server: number } },
  name: string,
  endpoints: Endpoints,
  inside: ReadonlyArray<string> = []
) {
  const tables = Object.entries(endpoints).flatMap(([kind, named]: [string, Readonly<Record<string, Settings>>]) =>
    Object.entries(named).map(([endpoint, settings]) => table(`client.${kind}.${endpoint}`, settings))
  )
  const client = table("client", {
    token: "replace-this-token",
    "server-addr": `localhost:${ports.server}`,
    "server-cas-file": "server.crt",
    "direct-addr": ":0"
  })
  writeFileSync(join(path, `${name}.toml`), [client, ...tables].join("\n"))
  return yield* startProcess(["--config", `${name}.toml`], path, inside)
})

const table = (name: string, settings: Settings) =>
  `[${name}]\n${Object.entries(settings)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join("")}`

/** A client with this file does not start, and says why. */
export const refusedAtStart = Effect.fnUntraced(function* (path: string, toml: string, said: RegExp) {
  writeFileSync(join(path, "client.toml"), toml)
  const process = yield* startProcess(["--config", "client.toml"], path)
  assert.notStrictEqual(yield* process.ended, 0)
  assert.match(process.log(), said)
})
