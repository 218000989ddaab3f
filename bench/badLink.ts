/**
 * `npm run bench:link`: clients on hosts that a bad link joins (40 ms round trip, 0.5 % loss each way, 200 Mbit/s), over
 * QUIC, over TCP, and as they choose by themselves. Needs root, `ip`, `nft` and `socat`; all in namespaces of its own.
 */
import { join } from "node:path"
import { Effect } from "effect"
import { startProgram } from "../test/cli/Process.ts"
import { makeBadLink } from "../test/lab/badLink.ts"
import { makeStage, SOURCE_PORT } from "../test/lab/stage.ts"

const MIB = 1024 * 1024
const LINK = { delayMillis: 20, loss: 0.005, megabits: 200 }
const SERVICE_PORT = 7_000
const role = (name: string) => join(import.meta.dirname, "roles", `${name}.ts`)

const measure = Effect.fnUntraced(function* (transport: "auto" | "quic" | "tcp", bytes: number) {
  const client = `transport = "${transport}"`
  const stage = yield* makeStage({ client, endpoint: 'route = "direct"', servicePort: SERVICE_PORT })
  const { left, right, startOthers, startSource } = stage
  yield* makeBadLink(stage, LINK)
  // By route, because a namespace may not have another default than the machine.
  for (const { exec } of [left, right]) {
    yield* exec("ip", "route", "replace", "10.99.0.0/24", "dev", "tun0", "congctl", "cubic")
  }
  yield* startProgram([...left.inside, process.execPath, role("service"), String(SERVICE_PORT)], ".")
  yield* startOthers
  const source = yield* startSource()
  yield* source.says(/path\.open/)
  const visit = Effect.gen(function* () {
    const visitor = yield* startProgram(
      [...right.inside, process.execPath, role("visitor"), String(SOURCE_PORT), "down", String(bytes)],
      "."
    )
    yield* visitor.ended
    if (Number.isNaN(Number.parseFloat(visitor.log()))) throw new Error(`${visitor.log()}\n${source.log()}`)
    return Number.parseFloat(visitor.log())
  })
  const megabits = yield* visit
  const carrier = [...source.log().matchAll(/path\.selected .*path=(\d+)/g)].at(-1)?.[1]
  const opened = new RegExp(`path\\.open .*path=${carrier} .*carrier=(\\w+)`).exec(source.log())?.[1]
  return { transport, carrier: opened, megabits }
}, Effect.scoped)

const main = Effect.gen(function* () {
  const results: Record<string, number> = {}
  for (const [transport, bytes] of [
    ["tcp", 12 * MIB],
    ["quic", 48 * MIB],
    ["auto", 48 * MIB]
  ] as const) {
    const { carrier, megabits } = yield* measure(transport, bytes)
    results[transport] = megabits
    process.stdout.write(`${transport}: ${megabits.toFixed(1)} Mbit/s over ${carrier}\n`)
  }
  process.stdout.write(`auto / tcp: ${(results.auto! / results.tcp!).toFixed(1)}\n`)
})

await Effect.runPromise(main)
