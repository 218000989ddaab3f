/** A service on a host of a lab: sends back what comes over TCP or UDP to one port. `node echo.ts PORT` */
import { createSocket } from "node:dgram"
import { createServer } from "node:net"

const port = Number(process.argv[2])

const udp = createSocket("udp4", (message, { address, port }) => udp.send(message, port, address))

udp.bind(port, () => {
  const tcp = createServer((socket) => {
    socket.on("error", () => {})
    socket.pipe(socket)
  })
  tcp.listen(port, () => process.stderr.write("listening\n"))
})
