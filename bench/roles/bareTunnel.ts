/**
 * The smallest tunnel over HTTP/2 within TLS that Node can make, one stream for each user: `bareTunnel.ts destination
 * <port of the service>` or `bareTunnel.ts source <port of the destination>`. Prints its port. Streams are `pipeline`d, and
 * nothing is checked.
 */
import { connect as connectHttp2, performServerHandshake } from "node:http2"
import { type AddressInfo, connect, createServer, type Server } from "node:net"
import { type Duplex, pipeline } from "node:stream"
import { connect as connectTls, createServer as createTlsServer } from "node:tls"
import { Effect, Redacted } from "effect"
import { issueServer } from "../../src/certs/issue.ts"

const MIB = 1024 * 1024
const settings = { initialWindowSize: 8 * MIB, maxConcurrentStreams: 10_000 }
const tcp = { host: "127.0.0.1", allowHalfOpen: true, noDelay: true }
const CONNECT = { ":method": "CONNECT", ":authority": "bare" }

const [role, port] = process.argv.slice(2)

const join = (a: Duplex, b: Duplex) => {
  pipeline(a, b, () => {})
  pipeline(b, a, () => {})
}

const listen = (server: Server) => {
  server.listen({ port: 0, host: "127.0.0.1", backlog: 1024 }, () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`)
  })
}

if (role === "destination") {
  const { certificatePem: cert, privateKeyPem } = await Effect.runPromise(issueServer(["127.0.0.1"]))
  const server = createTlsServer({ cert, key: Redacted.value(privateKeyPem), ALPNProtocols: ["bare"] }, (socket) => {
    const session = performServerHandshake(socket, { settings })
    session.setLocalWindowSize(64 * MIB)
    session.on("error", () => {})
    session.on("stream", (stream) => {
      stream.respond({ ":status": 200 })
      join(connect({ ...tcp, port: Number(port) }), stream)
    })
  })
  listen(server)
} else {
  const target = { host: "127.0.0.1", port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["bare"] }
  const socket = connectTls(target, () => {
    const session = connectHttp2("http://bare", { createConnection: () => socket, settings })
    session.on("connect", () => session.setLocalWindowSize(64 * MIB))
    listen(createServer({ ...tcp }, (user) => join(user, session.request(CONNECT))))
  })
}
