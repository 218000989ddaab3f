/** A plain reverse proxy of HTTP that keeps its connections: `httpProxy.ts <port of the service>`. Prints its port. */
import { Agent, createServer, request } from "node:http"
import type { AddressInfo } from "node:net"

const agent = new Agent({ keepAlive: true })
const service = { port: Number(process.argv[2]), host: "127.0.0.1", agent }

const server = createServer({ noDelay: true }, (req, res) => {
  const { method, url: path, rawHeaders: headers } = req
  const out = request({ ...service, method, path, headers }, (answer) => {
    res.writeHead(answer.statusCode!, answer.rawHeaders)
    answer.pipe(res)
  })
  out.on("error", () => res.destroy())
  req.pipe(out)
})
server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
})
