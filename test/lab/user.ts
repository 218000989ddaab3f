/**
 * A user: sends a line to an address over TCP or UDP, waits for the first bytes that come back, and prints what they are and
 * how long they took as JSON; without an answer, why.
 *
 *     node user.ts tcp ADDRESS PORT TEXT PATIENCE-IN-MILLISECONDS [URL-OF-A-PROXY]
 */
import { createSocket } from "node:dgram"
import { connect, type Socket } from "node:net"

const [protocol, host = "", port = "", text = "", patience = "", proxy = ""] = process.argv.slice(2)

const tell = (answer: object) => {
  process.stdout.write(JSON.stringify({ ...answer, millis: performance.now() - began }), () => process.exit())
}

const talk = (socket: Socket) => {
  socket.write(`${text}\n`)
  socket.on("data", (reply) => tell({ reply: reply.toString() }))
  socket.on("error", ({ message }) => tell({ failed: message }))
  socket.on("end", () => tell({ failed: "ended without an answer" }))
}

const through = async () => {
  const { Effect, Result } = await import("effect")
  const { parseProxy } = await import("../../src/domain/Proxy.ts")
  const { connectThrough } = await import("../../src/transport/tcp/connectThrough.ts")
  const target = { host, port: Number(port) }
  const socket = await Effect.runPromise(Effect.result(connectThrough(Result.getOrThrow(parseProxy(proxy)), target)))
  if (Result.isFailure(socket)) return tell({ failed: socket.failure.message })
  talk(socket.success)
}

const began = performance.now()
setTimeout(() => tell({ failed: "timed out" }), Number(patience))

if (protocol === "udp") {
  const socket = createSocket("udp4", (reply) => tell({ reply: reply.toString() }))
  socket.on("error", ({ message }) => tell({ failed: message }))
  socket.send(`${text}\n`, Number(port), host)
} else if (proxy === "") {
  talk(connect({ host, port: Number(port) }))
} else {
  await through()
}
