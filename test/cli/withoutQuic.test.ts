/** Platforms without a build of the QUIC binding, as real processes: everything goes over TCP. */
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { startProcess } from "./Process.ts"
import { stage, works } from "./Tunnel.ts"

const HOOK = join(import.meta.dirname, "withoutQuic.mjs")
const run = (path: string, ...args: ReadonlyArray<string>) =>
  startProcess(args, path, ["env", `NODE_OPTIONS=--import ${HOOK}`])

const linesWith = (log: string, event: string) => log.split("\n").filter((line) => line.includes(event))

describe("without QUIC", () => {
  it.live(
    "every role works over TCP, and says so once",
    () =>
      Effect.gen(function* () {
        const { path, ports, certificate } = yield* stage
        const control = [
          "control",
          ...["--clients-tokens", "replace-this-token", "--clients-addr", `:${ports.server}`],
          ...["--relays-tokens", "r", "--relays-addr", `:${ports.relays}`, ...certificate]
        ]
        const relay = [
          ...["relay", "--token", "r", "--addr", `:${ports.relay}`, "--hostport", "localhost"],
          ...["--control-addr", `localhost:${ports.relays}`, "--control-cas-file", "server.crt"]
        ]
        const processes = {
          control: yield* run(path, ...control),
          relay: yield* run(path, ...relay),
          destination: yield* run(path, "--config", "destination.toml"),
          source: yield* run(path, "--config", "source.toml", "--src-name", "web", "--src-route", "relay")
        }
        const logs = () =>
          Object.entries(processes)
            .map(([name, { log }]) => `--- ${name}\n${log()}`)
            .join("\n")
        yield* works(ports.source, logs)
        yield* processes.source.says(/path\.selected .*direction=relay/)
        for (const { log } of Object.values(processes)) {
          assert.strictEqual(linesWith(log(), "quic.unsupported").length, 1, logs())
          assert.notInclude(log(), "carrier=quic")
        }
      }),
    60_000
  )

  it.live("a role that may use QUIC only says that it cannot, and ends", () =>
    Effect.gen(function* () {
      const { path } = yield* stage
      const source = yield* run(path, "--config", "source.toml", "--transport", "quic")
      assert.strictEqual(yield* source.ended, 1)
      assert.match(source.log(), /^connet: QUIC has no native build for .*\n$/)
    })
  )
})
