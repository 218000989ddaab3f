/** Three destinations of one name, as real processes, of which one is killed while users come and go. */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { connect, createServer } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Schedule } from "effect"
import { startClient } from "./clients.ts"
import { startProcess, TookTooLong } from "./Process.ts"
import { freePort, stageFor } from "./Tunnel.ts"

const NAMES = ["a", "b", "c"] as const
/** Users who come one after the other, at the same time. */
const QUEUES = 64
/** Who come at once when one destination is dead. */
const LATER = 120

class Failed extends Data.TaggedError("Failed")<{ readonly detail: string }> {}

/** Says its name to everybody, and the rest of a visit back to him. */
const startService = (name: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((socket) => {
        socket.on("error", () => {}).write(name)
        socket.pipe(socket)
      }).listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => void server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** Who has served a user; he stays until his words have come back. Rejects when his connection ends before. */
const visit = (port: number) =>
  new Promise<string>((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" })
    let heard = ""
    socket.on("data", (part) => {
      heard += part
      if (heard.length === 1) socket.write("hello")
      if (heard.length < 6) return
      socket.destroy()
      resolve(heard[0]!)
    })
    socket.on("error", () => {}).on("close", () => reject(new VisitFailed(heard)))
  })

class VisitFailed extends Error {
  /** The name of who served him; empty when nobody did. */
  readonly heard: string

  constructor(heard: string) {
    super(`a user was left with "${heard}"`)
    this.heard = heard
  }
}

describe("a source with lb-retry all", () => {
  it.live(
    "lets no new user fail when one of three destinations is killed",
    () =>
      Effect.gen(function* () {
        const stage = yield* stageFor(1)
        const port = yield* freePort
        yield* startProcess(["server", "--config", "server.toml"], stage.path)
        const destinations = yield* Effect.forEach(NAMES, (name) =>
          Effect.flatMap(startService(name), (service) =>
            startClient(stage, name, { destinations: { web: { url: `tcp://127.0.0.1:${service}` } } })
          )
        )
        const source = yield* startClient(stage, "source", {
          sources: { web: { url: `tcp://127.0.0.1:${port}`, "lb-policy": "round-robin", "lb-retry": "all" } }
        })
        const [killed] = destinations
        const logs = () => source.log()

        const reached = Effect.tryPromise({
          try: async () => new Set(await Promise.all(NAMES.map(() => visit(port)))),
          catch: (error) => new Failed({ detail: String(error) })
        })
        yield* reached.pipe(
          Effect.filterOrFail(
            ({ size }) => size === NAMES.length,
            () => new Failed({ detail: "not all of them" })
          ),
          Effect.retry(Schedule.spaced("100 millis").pipe(Schedule.upTo({ times: 150 }))),
          Effect.mapError(({ detail }) => new TookTooLong({ detail: `${detail}\n${logs()}` }))
        )

        const before = new Map<string, number>()
        const after = new Map<string, number>()
        const failed: Array<string> = []
        let dead = false
        let longest = 0
        const come = async (served: Map<string, number>, isExcused: (heard: string) => boolean) => {
          const came = performance.now()
          try {
            const name = await visit(port)
            if (dead) longest = Math.max(longest, performance.now() - came)
            served.set(name, (served.get(name) ?? 0) + 1)
          } catch (error) {
            if (!isExcused((error as VisitFailed).heard)) failed.push(String(error))
          }
        }
        // Whoever the killed one has taken on goes down with it, whether he has heard of it already or not.
        const isTaken = (heard: string) => dead && (heard === "" || heard.startsWith("a"))
        const queue = async () => {
          while (!dead) await come(before, isTaken)
        }
        for (let each = 0; each < QUEUES; each++) void queue()
        yield* Effect.suspend(() =>
          NAMES.every((name) => (before.get(name) ?? 0) >= QUEUES / 4) ? Effect.void : new Failed({ detail: "" })
        ).pipe(Effect.retry(Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 1_000 }))))
        process.kill(killed!.pid, "SIGKILL")
        dead = true
        yield* Effect.promise(() => Promise.all(Array.from({ length: LATER }, () => come(after, () => false))))
        const told = (served: Map<string, number>) => [...served].map(([name, count]) => `${name} ${count}`).join(", ")
        process.stdout.write(
          `users of three destinations: ${told(before)}; when one was killed: ${told(after)}, at most ${longest.toFixed(0)} ms each\n`
        )
        assert.deepStrictEqual(failed, [], logs())
        // A user for whom every dial failed.
        assert.notInclude(logs(), "connection.failed")
        assert.isUndefined(after.get("a"))
        for (const name of ["b", "c"]) assert.isAbove(after.get(name) ?? 0, LATER / 4)
      }),
    60_000
  )
})
