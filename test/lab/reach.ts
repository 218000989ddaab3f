/** Ends once a TCP port can be connected to. `node reach.ts ADDRESS PORT` */
import { connect } from "node:net"

const [host = "", port = ""] = process.argv.slice(2)

const attempt = () => {
  connect({ host, port: Number(port) })
    .on("connect", () => process.exit())
    .on("error", () => setTimeout(attempt, 10))
}

attempt()
