/** `npm run bench`: everything side by side in one run. See README.md for what may be compared with what. */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { bulk, httpRequests, idle, newConnections, roundTrips } from "./load.ts"
import {
  cleanUp,
  cpuSeconds,
  portOf,
  role,
  type Subject,
  says,
  settledBytes,
  startBareTunnel,
  startHttpProxy,
  startProxy,
  startTunnel,
  startTunnelOverLink
} from "./Subject.ts"

const { values: flags } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    /** Names of subjects, with commas that no space follows between them. */
    only: { type: "string", default: "" },
    /** Beginnings of rows. */
    rows: { type: "string", default: "" },
    rounds: { type: "string" }
  }
})
const { quick } = flags
const MIB = 1024 * 1024
const ROUNDS = Number(flags.rounds ?? (quick ? 1 : 3))
const BULK_BYTES = (quick ? 64 : 192) * MIB
const RELAYED_BYTES = (quick ? 32 : 64) * MIB
const LOSSY_BYTES = (quick ? 16 : 48) * MIB
const TRIPS = quick ? 500 : 2_000
const MILLIS = quick ? 1_000 : 3_000

const DOWN = "bulk down, 1 connection, Mbit/s"
const CPU = "CPU seconds for each GB, down"
const IDLE = "memory for each of 1,000 idle connections, KB"
const HTTP = ["HTTP requests a second", "HTTP requests, CPU µs for each"]
const REFERENCE = "bare HTTP/2"

interface Plan {
  readonly name: string
  readonly start: (service: number) => Promise<Subject>
  readonly bytes?: number
  /** If it is not measured in all rows. */
  readonly rows?: ReadonlyArray<string>
}

const tunnel = (name: string, options: Parameters<typeof startTunnel>[2]): Plan => ({
  name,
  start: (service) => startTunnel(name, service, options),
  bytes: options.relayed === undefined ? BULK_BYTES : RELAYED_BYTES
})

const PLANS: ReadonlyArray<Plan> = [
  { name: "plain proxy", start: startProxy },
  { name: REFERENCE, start: startBareTunnel },
  { name: "plain HTTP proxy", start: startHttpProxy, rows: HTTP },
  tunnel("tunnel", { transport: "auto" }),
  { ...tunnel("http to http", { transport: "auto", scheme: "http" }), rows: HTTP },
  tunnel("tunnel, tcp", { transport: "tcp" }),
  tunnel("tunnel, quic", { transport: "quic" }),
  { name: "tunnel over the bad link", start: startTunnelOverLink, bytes: LOSSY_BYTES, rows: [DOWN] },
  ...(["quic", "tcp"] as const).flatMap((transport) =>
    (["none", "tls", "dhxcp"] as const).map((relayed) =>
      tunnel(`relay over ${transport}, ${relayed}`, { transport, relayed })
    )
  )
]

interface Load {
  readonly rows: ReadonlyArray<string>
  /** One value for each row. */
  readonly measure: (subject: Subject, bytes: number) => Promise<ReadonlyArray<number>>
  /** On fresh processes, before everything else. */
  readonly first?: boolean
}

/** How many a second, and the CPU time of each. */
const counted = async (processes: Subject["processes"], load: Promise<number>) => {
  const [began, cpu] = [performance.now(), cpuSeconds(processes)]
  const perSecond = await load
  return [perSecond, ((cpuSeconds(processes) - cpu) * 1e9) / (perSecond * (performance.now() - began))]
}

const LOADS: ReadonlyArray<Load> = [
  {
    rows: [IDLE],
    first: true,
    measure: async ({ port, processes }) => {
      const before = await settledBytes(processes)
      const sockets = await idle(port, 1_000)
      const grown = (await settledBytes(processes)) - before
      for (const socket of sockets) socket.destroy()
      return [grown / 1000 / 1000]
    }
  },
  {
    rows: [DOWN, CPU],
    measure: async ({ port, processes }, bytes) => {
      const cpu = cpuSeconds(processes)
      const speed = await bulk(port, "down", 1, bytes)
      return [speed, (cpuSeconds(processes) - cpu) / (bytes / 1e9)]
    }
  },
  {
    rows: ["bulk up, 1 connection, Mbit/s"],
    measure: async ({ port }, bytes) => [await bulk(port, "up", 1, bytes)]
  },
  {
    rows: ["bulk down, 8 connections, Mbit/s"],
    measure: async ({ port }, bytes) => [await bulk(port, "down", 8, bytes / 8)]
  },
  {
    rows: ["bulk up, 8 connections, Mbit/s"],
    measure: async ({ port }, bytes) => [await bulk(port, "up", 8, bytes / 8)]
  },
  {
    rows: ["round trip of 64 bytes, p50, µs", "round trip of 64 bytes, p99, µs"],
    measure: async ({ port }) => {
      const { p50, p99 } = await roundTrips(port, TRIPS)
      return [p50, p99]
    }
  },
  {
    rows: ["new connections a second", "new connections, CPU µs for each"],
    measure: ({ port, processes }) => counted(processes, newConnections(port, MILLIS))
  },
  {
    rows: HTTP,
    measure: ({ port, processes }) => counted(processes, httpRequests(port, MILLIS))
  }
]

const list = (text: string) => text.split(/,(?! )/).filter((part) => part !== "")
const [only, rows] = [list(flags.only), list(flags.rows)]
const isWanted = (name: string) => only.length === 0 || only.includes(name)
const isMeasured = (row: string) => rows.length === 0 || rows.some((beginning) => row.startsWith(beginning))

const results: Record<string, Record<string, Array<number>>> = {}
const note = (row: string, subject: string, value: number) => {
  results[row] ??= {}
  results[row][subject] ??= []
  results[row][subject].push(value)
}

const bareLoop = async () => {
  const receiver = role("bare", "receive")
  const port = await portOf(receiver)
  const line = says(receiver, /(\{.*\})\n/)
  const sender = role("bare", "send", String(port), String(BULK_BYTES))
  const { bytes, millis } = JSON.parse((await line)[1]!) as { bytes: number; millis: number }
  note(DOWN, "bare loop", (bytes * 8) / 1000 / millis)
  note(CPU, "bare loop", cpuSeconds([receiver]) / (bytes / 1e9))
  receiver.kill()
  sender.kill()
}

const median = (values: ReadonlyArray<number>) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

const cell = (value: number) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1))

/** Beside each value its ratio to the bare HTTP/2 tunnel, both medians of the same rounds. */
const table = (): string => {
  const names = [...PLANS.map(({ name }) => name), "bare loop"]
  const subjects = names.filter((name) => Object.values(results).some((values) => values[name] !== undefined))
  const lines = Object.entries(results).map(([row, values]) => {
    const reference = values[REFERENCE]
    const cells = subjects.map((name) => {
      const all = values[name]
      if (all === undefined) return "–"
      if (reference === undefined || name === REFERENCE) return cell(median(all))
      const ratio = median(all.map((value, round) => value / reference[Math.min(round, reference.length - 1)]!))
      return `${cell(median(all))} (${ratio.toFixed(2)})`
    })
    return `| ${row} | ${cells.join(" | ")} |`
  })
  return [`| median of ${ROUNDS} | ${subjects.join(" | ")} |`, `|---|${"--:|".repeat(subjects.length)}`, ...lines].join(
    "\n"
  )
}

const main = async () => {
  const service = await portOf(role("service"))
  const plans = PLANS.filter(({ name }) => isWanted(name))
  const loads = LOADS.filter((load) => load.rows.some(isMeasured))
  // One after the other: ports that seem free are.
  const subjects: Array<Plan & { readonly subject: Subject }> = []
  for (const plan of plans) subjects.push({ ...plan, subject: await plan.start(service) })
  const measureAll = async ({ rows, measure }: Load) => {
    for (const { subject, bytes = BULK_BYTES, rows: measured = rows } of subjects) {
      if (!rows.some((row) => measured.includes(row))) continue
      const values = await measure(subject, bytes)
      rows.forEach((row, at) => {
        if (measured.includes(row)) note(row, subject.name, values[at]!)
      })
    }
  }
  for (const load of loads) if (load.first) await measureAll(load)
  for (let round = 0; round < ROUNDS; round++) {
    for (const load of loads) {
      if (load.first) continue
      await measureAll(load)
      if (load.rows.includes(DOWN) && isWanted("bare loop")) await bareLoop()
    }
  }
  process.stdout.write(`${table()}\n`)
  const folder = join(import.meta.dirname, "results")
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${new Date().toISOString().replaceAll(":", "-")}.json`)
  writeFileSync(file, `${JSON.stringify({ node: process.version, cpus: cpus().length, results }, null, 2)}\n`)
}

try {
  await main()
} finally {
  await cleanUp()
}
