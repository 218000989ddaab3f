/** What a process holds, as Linux tells it. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { Effect } from "effect"
import type { Process } from "./Process.ts"

/** Before a process of Node that shall say what it holds: it then collects its garbage at SIGUSR2, and says what is left. */
export const COLLECTING = [
  "env",
  `NODE_OPTIONS=--expose-gc --import=data:text/javascript,${encodeURIComponent(
    `let n=0;process.on("SIGUSR2",()=>{gc();const{heapUsed,external}=process.memoryUsage();console.error("held "+ ++n+" "+(heapUsed+external))})`
  )}`
]

/** What such a process holds without its garbage, in bytes. */
export const heldBytes = Effect.fnUntraced(function* ({ pid, log, says }: Process) {
  const times = log().match(/^held \d/gm)?.length ?? 0
  process.kill(pid, "SIGUSR2")
  yield* says(new RegExp(`^held ${times + 1} \\d+\n`, "m"))
  return Number(new RegExp(`^held ${times + 1} (\\d+)`, "m").exec(log())![1])
})

/** Memory of a process, in bytes. */
export const residentBytes = (pid: number): number =>
  1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1])

/** How many sockets a process has open. */
export const openSockets = (pid: number): number =>
  readdirSync(`/proc/${pid}/fd`).filter((fd) => isSocket(`/proc/${pid}/fd/${fd}`)).length

const isSocket = (path: string): boolean => {
  try {
    return readlinkSync(path).startsWith("socket:")
  } catch {
    // Closed meanwhile.
    return false
  }
}
