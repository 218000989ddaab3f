/** `npm run bench`: everything side by side in one run. See README.md for what may be compared with what. */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { bulk, idle, newConnections, roundTrips } from "./load.ts"
import {
  cleanUp,
  cpuSeconds,
  portOf,
  residentBytes,
  role,
  type Subject,
  says,
  startBareTunnel,
  startProxy,
  startTunnel,
  startTunnelOverLink
} from "./Subject.ts"

const MIB = 1024 * 1024
const quick = process.argv.includes("--quick")
const ROUNDS = quick ? 1 : 3
const BULK_BYTES = (quick ? 64 : 192) * MIB
const RELAYED_BYTES = (quick ? 32 : 64) * MIB
const LOSSY_BYTES = (quick ? 16 : 48) * MIB

const SCHEMES = ["none", "tls", "dhxcp"] as const
const RELAYED = SCHEMES.map((scheme) => `relay, ${scheme}`)

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
  note("bulk down, 1 connection, Mbit/s", "bare loop", (bytes * 8) / 1000 / millis)
  note("CPU seconds for each GB, down", "bare loop", cpuSeconds([receiver]) / (bytes / 1e9))
  receiver.kill()
  sender.kill()
}

const bulkRows = async ({ name, port, processes }: Subject, bytes: number = BULK_BYTES) => {
  const cpu = cpuSeconds(processes)
  note("bulk down, 1 connection, Mbit/s", name, await bulk(port, "down", 1, bytes))
  note("CPU seconds for each GB, down", name, (cpuSeconds(processes) - cpu) / (bytes / 1e9))
  note("bulk up, 1 connection, Mbit/s", name, await bulk(port, "up", 1, bytes))
  note("bulk down, 8 connections, Mbit/s", name, await bulk(port, "down", 8, bytes / 8))
  note("bulk up, 8 connections, Mbit/s", name, await bulk(port, "up", 8, bytes / 8))
}

const smallRows = async ({ name, port }: Subject) => {
  const { p50, p99 } = await roundTrips(port, quick ? 500 : 2_000)
  note("round trip of 64 bytes, p50, µs", name, p50)
  note("round trip of 64 bytes, p99, µs", name, p99)
  note("new connections a second", name, await newConnections(port, quick ? 1_000 : 3_000))
}

const idleRow = async ({ name, port, processes }: Subject) => {
  const before = residentBytes(processes)
  const sockets = await idle(port, 1_000)
  note("memory for each of 1,000 idle connections, KB", name, (residentBytes(processes) - before) / 1000 / 1000)
  for (const socket of sockets) socket.destroy()
}

const median = (values: ReadonlyArray<number>) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!

const table = (): string => {
  const subjects = ["plain proxy", "bare HTTP/2", "bare loop", "tunnel", "tunnel over the bad link", ...RELAYED]
  const cell = (value: number | undefined) =>
    value === undefined ? "–" : value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1)
  const lines = Object.entries(results).map(([row, values]) => {
    const cells = subjects.map((name) => cell(values[name] && median(values[name])))
    return `| ${row} | ${cells.join(" | ")} |`
  })
  return [`| median of ${ROUNDS} | ${subjects.join(" | ")} |`, `|---|${"--:|".repeat(subjects.length)}`, ...lines].join(
    "\n"
  )
}

const main = async () => {
  const service = await portOf(role("service"))
  const proxy = await startProxy(service)
  const bareTunnel = await startBareTunnel(service)
  const tunnel = await startTunnel(service)
  const lossy = await startTunnelOverLink(service)
  const relayed = await Promise.all(SCHEMES.map((scheme) => startTunnel(service, scheme)))
  for (let round = 0; round < ROUNDS; round++) {
    await bulkRows(proxy)
    await bareLoop()
    await bulkRows(bareTunnel)
    await bulkRows(tunnel)
    await smallRows(proxy)
    await smallRows(bareTunnel)
    await smallRows(tunnel)
    note("bulk down, 1 connection, Mbit/s", lossy.name, await bulk(lossy.port, "down", 1, LOSSY_BYTES))
    for (const subject of relayed) {
      await bulkRows(subject, RELAYED_BYTES)
      await smallRows(subject)
    }
  }
  await idleRow(proxy)
  await idleRow(bareTunnel)
  await idleRow(tunnel)
  for (const subject of relayed) await idleRow(subject)

  const [bare, through] = ["bare loop", "tunnel"].map((name) =>
    median(results["bulk down, 1 connection, Mbit/s"]![name]!)
  )
  process.stdout.write(`${table()}\n\ntunnel / bare loop, bulk down, 1 connection: ${(through! / bare!).toFixed(2)}\n`)
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
