/** One tunnel of real processes under load: many connections, bad readers, quitters, and noise from the network. */
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { full } from "../full.ts"
import { type Process, startProcess } from "./Process.ts"
import { stageFor } from "./Tunnel.ts"
import { chunk, echoService, MIB, read, timed, usersOf } from "./Users.ts"
import { residentBytes } from "./usage.ts"

const SIZE = full(64, 16) * MIB

describe("a tunnel under load", () => {
  const scope = Scope.makeUnsafe()
  const { user, echo, ping, fetch, leave } = usersOf(() => ports.source)
  let processes: { server: Process; destination: Process; source: Process }
  let ports: { server: number; source: number }

  beforeAll(async () => {
    const begin = Effect.gen(function* () {
      const server = yield* echoService
      const stage = yield* stageFor((server.address() as AddressInfo).port)
      ports = stage.ports
      processes = {
        server: yield* startProcess(["server", "--config", "server.toml"], stage.path),
        destination: yield* startProcess(["--config", "destination.toml"], stage.path),
        source: yield* startProcess(["--config", "source.toml"], stage.path)
      }
      yield* processes.source.says("path.open")
    })
    await Effect.runPromise(Effect.provideService(begin, Scope.Scope, scope))
  }, 40_000)

  afterAll(async () => {
    leave()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }, 20_000)

  it("1,000 idle and 300 busy connections work at once", async () => {
    const idle = Array.from({ length: 1_000 }, () => user("echo"))
    await Promise.all(idle.map(ping))
    await Promise.all(Array.from({ length: 300 }, () => echo(chunk)))
    // The idle ones are still there.
    await Promise.all(idle.map(ping))
    for (const socket of idle) socket.destroy()
  }, 60_000)

  it("16 downloads that nobody reads leave the others alone", async () => {
    const alone = await fetch(SIZE)
    const unread = Array.from({ length: 16 }, () => user(`download ${1024 * MIB}`))
    await Promise.all(unread.map((socket) => once(socket, "readable")))
    // They first fill every buffer on the way.
    await fetch(SIZE)
    // Were they in the way, it would never end.
    const beside = await fetch(SIZE)
    process.stdout.write(`${SIZE / MIB} MiB alone ${Math.round(alone)} ms, beside 16 unread ${Math.round(beside)} ms\n`)
    for (const socket of unread) socket.destroy()
  }, 60_000)

  it("30 downloads closed in the middle are each followed by a connection that works at once", async () => {
    const waits: Array<number> = []
    for (let round = 0; round < 30; round++) {
      const socket = user(`download ${256 * MIB}`)
      await read(socket, 2 * MIB)
      socket.destroy()
      waits.push(await timed(() => echo(Buffer.from("next"))))
    }
    process.stdout.write(`after a closed download: at most ${Math.round(Math.max(...waits))} ms\n`)
    assert.isBelow(Math.max(...waits), 5_000)
  }, 60_000)

  it("100,000 random datagrams at the server and a client change nothing", async () => {
    const direct = Number(/server\.online .*public=\S+?:(\d+)/.exec(processes.source.log())![1])
    // Clients may still be choosing among their links; noise has nothing to do with that. The system may drop some of it.
    const logs = () =>
      [processes.server.log(), processes.source.log()].map((log) =>
        log.split("\n").filter((line) => !/ info +(path|relay|link)\.| warn +socket\.drops/.test(line))
      )
    const memory = () => [processes.server.pid, processes.source.pid].map(residentBytes)
    const logsBefore = logs()
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    await once(socket, "listening")
    let memoryBefore = memory()
    for (let sent = 0; sent < 130_000; sent++) {
      // The first ones only bring both heaps to where garbage collection keeps them.
      if (sent === 30_000) memoryBefore = memory()
      const packet = randomBytes(1 + ((sent * 7) % 1_400))
      // Half of them look like the beginning of a connection.
      if (sent % 2 === 0 && packet.length > 6) {
        packet[0] = 0xc0 | (packet[0]! & 0x0f)
        packet.writeUInt32BE(1, 1)
        packet[5] = 8
      }
      const port = sent % 4 < 2 ? ports.server : direct
      await new Promise((resolve) => socket.send(packet, port, "127.0.0.1", resolve))
    }
    socket.close()
    await echo(Buffer.from("still here"))
    assert.deepEqual(logs(), logsBefore)
    const grown = memory().map((now, at) => now - memoryBefore[at]!)
    process.stdout.write(`memory grew by ${grown.map((bytes) => Math.round(bytes / MIB)).join(" and ")} MiB\n`)
    for (const bytes of grown) assert.isBelow(bytes, 64 * MIB)
  }, 60_000)
})
