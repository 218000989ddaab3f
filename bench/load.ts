/** What users do, and how long it takes them. */
import { connect, type Socket } from "node:net"

const CHUNK = Buffer.alloc(64 * 1024, 7)

const open = (port: number, command: string): Socket => {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true })
  socket.on("error", (error) => {
    throw error
  })
  socket.write(`${command}\n`)
  return socket
}

const received = (socket: Socket, size: number): Promise<void> =>
  new Promise((resolve) => {
    let left = size
    const take = (bytes: Buffer) => {
      left -= bytes.length
      if (left > 0) return
      socket.off("data", take)
      resolve()
    }
    socket.on("data", take)
  })

const download = async (port: number, size: number): Promise<void> => {
  const socket = open(port, `download ${size}`)
  await received(socket, size)
  socket.destroy()
}

const upload = async (port: number, size: number): Promise<void> => {
  const socket = open(port, `upload ${size}`)
  let left = size
  const go = () => {
    while (left > 0) {
      left -= CHUNK.length
      if (!socket.write(CHUNK)) {
        socket.once("drain", go)
        return
      }
    }
  }
  go()
  await received(socket, 1)
  socket.destroy()
}

/** Moves `size` bytes over each of `connections`; megabits a second of all together. */
export const bulk = async (port: number, direction: "down" | "up", connections: number, size: number) => {
  const move = direction === "down" ? download : upload
  const began = performance.now()
  await Promise.all(Array.from({ length: connections }, () => move(port, size)))
  return (size * connections * 8) / 1000 / (performance.now() - began)
}

/** Round trips of 64 bytes on an open connection: median and 99th percentile, in microseconds. */
export const roundTrips = async (port: number, count: number) => {
  const socket = open(port, "echo")
  const message = Buffer.alloc(64, 1)
  const times: Array<number> = []
  for (let round = 0; round < count; round++) {
    const began = performance.now()
    const answered = received(socket, message.length)
    socket.write(message)
    await answered
    times.push((performance.now() - began) * 1000)
  }
  socket.destroy()
  times.sort((a, b) => a - b)
  return { p50: times[Math.floor(count * 0.5)]!, p99: times[Math.floor(count * 0.99)]! }
}

/** New connections a second, each answered with one byte: 16 users, one connection after the other. */
export const newConnections = async (port: number, millis: number) => {
  const until = performance.now() + millis
  const began = performance.now()
  let made = 0
  const user = async () => {
    while (performance.now() < until) {
      const socket = open(port, "echo")
      const answered = received(socket, 1)
      socket.write("x")
      await answered
      socket.destroy()
      made++
    }
  }
  await Promise.all(Array.from({ length: 16 }, user))
  return (made * 1000) / (performance.now() - began)
}

/** Opens idle connections; each has been answered once. */
export const idle = async (port: number, count: number): Promise<ReadonlyArray<Socket>> => {
  const sockets = Array.from({ length: count }, () => open(port, "echo"))
  await Promise.all(
    sockets.map((socket) => {
      const answered = received(socket, 1)
      socket.write("x")
      return answered
    })
  )
  return sockets
}

const REQUEST = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n"
const HTTP_CLIENTS = 32

/** HTTP requests a second: 32 clients that keep their connection, one small request after the other. */
export const httpRequests = async (port: number, millis: number) => {
  const began = performance.now()
  const until = began + millis
  let answered = 0
  const client = () =>
    new Promise<void>((resolve) => {
      const socket = connect({ port, host: "127.0.0.1", noDelay: true })
      socket.on("error", (error) => {
        throw error
      })
      let text = ""
      socket.on("data", (bytes: Buffer) => {
        text += bytes.toString("latin1")
        // All answers of the service end so, and nothing else of them does.
        if (!text.endsWith("\r\n\r\nhello")) return
        text = ""
        answered++
        if (performance.now() < until) socket.write(REQUEST)
        else {
          socket.destroy()
          resolve()
        }
      })
      socket.write(REQUEST)
    })
  await Promise.all(Array.from({ length: HTTP_CLIENTS }, client))
  return (answered * 1000) / (performance.now() - began)
}
