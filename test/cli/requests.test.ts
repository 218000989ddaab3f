/** Many requests of HTTP through one tunnel of real processes: none fails, and nothing is left of them. */
import { once } from "node:events"
import { Agent, createServer, request, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Schedule } from "effect"
import { full } from "../full.ts"
import { startClient } from "./clients.ts"
import { startProcess, TookTooLong } from "./Process.ts"
import { freePort, stageFor } from "./Tunnel.ts"
import { COLLECTING, heldBytes, openSockets, residentBytes } from "./usage.ts"

const SEQUENTIAL = full(10_000, 300)
const CONCURRENT = full(1_000, 200)
/** As many as wait for the service at once, at least: the destination has 256 connections to it. */
const HELD = 200

const MIB = 1024 * 1024
/** Without garbage; a round leaves 0 to 7 MiB, which the next one takes back. */
const GROWTH_BYTES = 16 * MIB
/** Connections that the destination keeps to its service. */
const KEPT = [64, 0]
/** What the clients have between themselves comes and goes. */
const SPARE_SOCKETS = 4

class Failed extends Data.TaggedError("Failed")<{ readonly detail: string }> {}

/** Answers with the path; those below `/held` not before so many of them have come. */
const startService = Effect.acquireRelease(
  Effect.promise(async () => {
    const held: Array<() => void> = []
    const server = createServer(({ url = "" }, res: ServerResponse) => {
      const answer = () => void res.end(url)
      if (!url.startsWith("/held")) return answer()
      if (held.push(answer) % HELD === 0) for (const each of held.splice(0)) each()
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server: Server) =>
    Effect.sync(() => {
      server.close()
      server.closeAllConnections()
    })
).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** A request whose answer must be its own path. */
const ask = async (port: number, agent: Agent, path: string): Promise<void> => {
  const out = request({ port, host: "127.0.0.1", agent, path }).end()
  const [answer] = await once(out, "response")
  let body = ""
  for await (const part of answer) body += part
  if (body !== path) throw new Error(`${path} was answered ${answer.statusCode} ${body}`)
}

const sequential = async (port: number, count: number): Promise<number> => {
  const began = performance.now()
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let at = 0; at < count; at++) await ask(port, agent, `/${at}`)
  agent.destroy()
  return performance.now() - began
}

const concurrent = async (port: number, count: number): Promise<number> => {
  const began = performance.now()
  const agent = new Agent()
  await Promise.all(Array.from({ length: count }, (_, at) => ask(port, agent, `/held/${at}`)))
  return performance.now() - began
}

describe("an http source before an http destination", () => {
  it.live(
    `carries ${SEQUENTIAL} requests one after the other and ${CONCURRENT} at once, and keeps nothing of them`,
    () =>
      Effect.gen(function* () {
        const service = yield* startService
        const stage = yield* stageFor(service)
        const port = yield* freePort
        yield* startProcess(["server", "--config", "server.toml"], stage.path)
        const destination = yield* startClient(
          stage,
          "destination",
          {
            destinations: { app: { url: `http://127.0.0.1:${service}` } }
          },
          COLLECTING
        )
        const source = yield* startClient(
          stage,
          "source",
          { sources: { app: { url: `http://127.0.0.1:${port}` } } },
          COLLECTING
        )
        const clients = [destination, source]
        const load = (one: number, many: number) =>
          Effect.tryPromise({
            try: async () => [await sequential(port, one), await concurrent(port, many)] as const,
            catch: (error) => new TookTooLong({ detail: `${error}\n${clients.map(({ log }) => log()).join("\n")}` })
          })
        // Who is online may not be reachable yet.
        yield* Effect.retry(load(1, 0), Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 150 })))
        const sockets = () => clients.map(({ pid }) => openSockets(pid))
        const idle = sockets()
        // Until what is kept for the next ones is there.
        yield* load(SEQUENTIAL / 4, CONCURRENT)
        const before = yield* Effect.forEach(clients, heldBytes)
        const [first, second] = yield* load(SEQUENTIAL, CONCURRENT)
        // Closing takes its time.
        yield* Effect.suspend(() =>
          sockets().every((count, at) => count <= idle[at]! + KEPT[at]! + SPARE_SOCKETS)
            ? Effect.void
            : new Failed({ detail: `there were ${idle.join(" and ")} sockets, now ${sockets().join(" and ")}` })
        ).pipe(Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 100 }))))
        const held = yield* Effect.forEach(clients, heldBytes)
        const inMib = (bytes: ReadonlyArray<number>) => bytes.map((each) => (each / MIB).toFixed(1)).join(" and ")
        process.stdout.write(
          `${SEQUENTIAL} requests one after the other: ${first.toFixed(0)} ms, ${CONCURRENT} at once: ${second.toFixed(0)} ms; ` +
            `sockets ${idle.join(" and ")}, then ${sockets().join(" and ")}; ` +
            `memory ${inMib(before)}, then ${inMib(held)} MiB, resident ${inMib(clients.map(({ pid }) => residentBytes(pid)))} MiB\n`
        )
        for (const [at, bytes] of held.entries()) assert.isBelow(bytes - before[at]!, GROWTH_BYTES)
      }),
    120_000
  )
})
