/** One tunnel of real processes under load: many connections, bad readers, quitters, and noise from the network. */
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { type Process, startProcess } from "./Process.ts"
import { stageFor } from "./Tunnel.ts"

const MIB = 1024 * 1024
const CHUNK = randomBytes(64 * 1024)

/** `echo` sends back what follows; `download N` sends N bytes and finishes. */
const service = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("error", () => {})
      // A first packet may hold a single byte.
      let head = Buffer.alloc(0)
      const onData = (bytes: Buffer) => {
        head = Buffer.concat([head, bytes])
        const end = head.indexOf("\n")
        if (end < 0) return
        socket.off("data", onData)
        const [command, size] = head.toString("utf8", 0, end).split(" ")
        if (command !== "echo") return void download(socket, Number(size))
        socket.write(head.subarray(end + 1))
        socket.pipe(socket)
      }
      socket.on("data", onData)
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server) => Effect.sync(() => void server.close())
)

const download = async (socket: Socket, size: number) => {
  for (let left = size; left > 0 && !socket.destroyed; left -= CHUNK.length) {
    if (!socket.write(CHUNK.subarray(0, Math.min(left, CHUNK.length)))) {
      await new Promise<void>((resolve) => {
        const go = () => {
          socket.off("drain", go).off("close", go)
          resolve()
        }
        socket.on("drain", go).on("close", go)
      })
    }
  }
  socket.end()
}

describe("a tunnel under load", () => {
  const scope = Scope.makeUnsafe()
  const users = new Set<Socket>()
  let processes: { server: Process; destination: Process; source: Process }
  let ports: { server: number; source: number }

  beforeAll(async () => {
    const begin = Effect.gen(function* () {
      const server = yield* service
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
    for (const user of users) user.destroy()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }, 20_000)

  const user = (command: string): Socket => {
    const socket = connect({ port: ports.source, host: "127.0.0.1", allowHalfOpen: true })
    socket.on("error", () => {})
    socket.once("close", () => users.delete(socket))
    users.add(socket)
    socket.write(`${command}\n`)
    return socket
  }

  /** Reads exactly so many bytes, or rejects when the connection ends before. */
  const read = (socket: Socket, size: number): Promise<number> =>
    new Promise((resolve, reject) => {
      let received = 0
      const done = () => {
        socket.off("data", onData).off("close", onClose)
        resolve(received)
      }
      const onData = (bytes: Buffer) => {
        received += bytes.length
        if (received >= size) done()
      }
      const onClose = () => reject(new Error(`the connection ended after ${received} of ${size} bytes`))
      socket.on("data", onData).once("close", onClose)
    })

  const echo = async (bytes: Buffer): Promise<void> => {
    const socket = user("echo")
    socket.write(bytes)
    await read(socket, bytes.length)
    socket.destroy()
  }

  const ping = (socket: Socket): Promise<number> => {
    socket.write("x")
    return read(socket, 1)
  }

  const timed = async (work: () => Promise<unknown>): Promise<number> => {
    const began = performance.now()
    await work()
    return performance.now() - began
  }

  const fetch64 = () => {
    const socket = user(`download ${64 * MIB}`)
    return timed(() => read(socket, 64 * MIB)).finally(() => socket.destroy())
  }

  const residentBytes = (pid: number) =>
    1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1])

  it("1,000 idle and 300 busy connections work at once", async () => {
    const idle = Array.from({ length: 1_000 }, () => user("echo"))
    await Promise.all(idle.map(ping))
    await Promise.all(Array.from({ length: 300 }, () => echo(CHUNK)))
    // The idle ones are still there.
    await Promise.all(idle.map(ping))
    for (const socket of idle) socket.destroy()
  }, 60_000)

  it("16 downloads that nobody reads leave the others alone", async () => {
    const alone = await fetch64()
    const unread = Array.from({ length: 16 }, () => user(`download ${1024 * MIB}`))
    await Promise.all(unread.map((socket) => once(socket, "readable")))
    // They first fill every buffer on the way.
    await fetch64()
    // Were they in the way, it would never end.
    const beside = await fetch64()
    process.stdout.write(`64 MiB alone ${Math.round(alone)} ms, beside 16 unread ${Math.round(beside)} ms\n`)
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
    // The source may still be choosing among its paths; noise has nothing to do with that.
    const logs = () =>
      [processes.server.log(), processes.source.log()].map((log) =>
        log.split("\n").filter((line) => !/ info +path\./.test(line))
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
