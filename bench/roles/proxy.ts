/** The plainest proxy there is: `proxy.ts <port of the service>`. Prints its port. */
import { type AddressInfo, connect, createServer } from "node:net"

const server = createServer({ allowHalfOpen: true, noDelay: true }, (user) => {
  const service = connect({ port: Number(process.argv[2]), host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
  user.on("error", () => service.destroy())
  service.on("error", () => user.destroy())
  user.pipe(service)
  service.pipe(user)
})
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
