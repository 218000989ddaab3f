/**
 * The service behind every subject: `service.ts [port]`. `echo`, `download N` (bytes), `upload N`, or HTTP, which says hello.
 * Prints its port.
 */
import { createServer as createHttpServer } from "node:http"
import { type AddressInfo, createServer, type Socket } from "node:net"

const CHUNK = Buffer.alloc(64 * 1024, 7)
const GET = Buffer.from("GET ")

const http = createHttpServer((_request, response) => response.end("hello"))

const download = (socket: Socket, size: number) => {
  let left = size
  const go = () => {
    while (left > 0) {
      const chunk = CHUNK.subarray(0, Math.min(left, CHUNK.length))
      left -= chunk.length
      if (!socket.write(chunk)) {
        socket.once("drain", go)
        return
      }
    }
  }
  go()
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
  socket.on("error", () => {})
  socket.on("end", () => socket.end())
  // A first packet may hold a single byte.
  let first = Buffer.alloc(0)
  socket.on("data", function onHead(bytes: Buffer) {
    first = Buffer.concat([first, bytes])
    const end = first.indexOf("\n")
    if (end < 0) return
    socket.off("data", onHead)
    if (first.subarray(0, 4).equals(GET)) {
      socket.unshift(first)
      http.emit("connection", socket)
      return
    }
    const [command, argument] = first.toString("latin1", 0, end).split(" ")
    const rest = first.subarray(end + 1)
    const size = Number(argument)
    if (command === "download") {
      socket.resume()
      download(socket, size)
    } else if (command === "upload") {
      let received = rest.length
      socket.on("data", (bytes) => {
        received += bytes.length
        if (received >= size) socket.end("k")
      })
    } else {
      if (rest.length > 0) socket.write(rest)
      socket.on("data", (bytes) => socket.write(bytes))
    }
  })
})
server.listen({ port: Number(process.argv[2] ?? 0), host: "127.0.0.1", backlog: 1024 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
