/** A service that echoes and sends, and users who come to it through a tunnel. */
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { connect, createServer, type Socket } from "node:net"
import { Effect } from "effect"

export const MIB = 1024 * 1024

/** 64 KiB of anything. */
export const chunk = randomBytes(64 * 1024)

/** `echo` sends back what follows; `download N` sends N bytes and finishes. */
export const echoService = Effect.acquireRelease(
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
  for (let left = size; left > 0 && !socket.destroyed; left -= chunk.length) {
    if (!socket.write(chunk.subarray(0, Math.min(left, chunk.length)))) {
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

/** Reads exactly so many bytes, or rejects when the connection ends before. */
export const read = (socket: Socket, size: number): Promise<number> =>
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

/** How long something takes, in milliseconds. */
export const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await work()
  return performance.now() - began
}

/** The users of one source. */
export const usersOf = (port: () => number) => {
  const users = new Set<Socket>()
  const user = (command: string): Socket => {
    const socket = connect({ port: port(), host: "127.0.0.1", allowHalfOpen: true })
    socket.on("error", () => {})
    socket.once("close", () => users.delete(socket))
    users.add(socket)
    socket.write(`${command}\n`)
    return socket
  }
  const echo = async (bytes: Buffer): Promise<void> => {
    const socket = user("echo")
    socket.write(bytes)
    await read(socket, bytes.length)
    socket.destroy()
  }
  return {
    /** A connection that has said what it wants. */
    user,
    echo,
    /** A small thing there and back. */
    ping: (socket: Socket): Promise<number> => {
      socket.write("x")
      return read(socket, 1)
    },
    /** Sends as much as it gets back, finishes, and compares the hashes. */
    roundTrip: async (bytes: number): Promise<boolean> => {
      const socket = user("echo")
      const [sent, received] = [createHash("sha256"), createHash("sha256")]
      socket.on("data", (piece) => received.update(piece))
      const ended = once(socket, "end")
      for (let left = bytes; left > 0; left -= chunk.length) {
        const piece = chunk.subarray(0, Math.min(left, chunk.length))
        sent.update(piece)
        if (!socket.write(piece)) await once(socket, "drain")
      }
      socket.end()
      await ended
      return sent.digest("hex") === received.digest("hex")
    },
    fetch: (bytes: number) => {
      const socket = user(`download ${bytes}`)
      return timed(() => read(socket, bytes)).finally(() => socket.destroy())
    },
    leave: () => {
      for (const user of users) user.destroy()
    }
  }
}
