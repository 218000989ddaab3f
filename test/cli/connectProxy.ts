import { once } from "node:events"
import { createServer } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { Effect } from "effect"

/** An HTTP proxy on this machine that carries whatever is asked of it: its port, and where it was asked to connect to. */
export const connectProxy = Effect.acquireRelease(
  Effect.promise(async () => {
    const asked: Array<string> = []
    const server = createServer().on("connect", ({ url = "" }, socket) => {
      asked.push(url)
      const { hostname, port } = new URL(`http://${url}`)
      const target = connect(Number(port), hostname, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n")
        socket.pipe(target).pipe(socket)
      })
      // Who loses one side has no use for the other one.
      target.on("error", () => socket.destroy()).on("close", () => socket.destroy())
      socket.on("error", () => target.destroy()).on("close", () => target.destroy())
    })
    await once(server.listen(0, "127.0.0.1"), "listening")
    return { server, asked }
  }),
  ({ server }) => Effect.sync(() => void server.close())
).pipe(Effect.map(({ server, asked }) => ({ port: (server.address() as AddressInfo).port, asked })))
