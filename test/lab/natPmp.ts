/**
 * A router of a lab that forwards ports when its host asks for it. `node natPmp.ts GATEWAY OUTSIDE TABLE` listens on the
 * router's address for the host, tells the address OUTSIDE of the router, and forwards in a table of `Host.hide`.
 */
import { spawnSync } from "node:child_process"
import { createSocket } from "node:dgram"
import { answerTo } from "../peer/natpmp/router.ts"

const [gateway = "", outside = "", table = ""] = process.argv.slice(2)
const PORTS = { udp: 40_000, tcp: 40_001 }

const socket = createSocket("udp4").on("message", (bytes, { address, port }) => {
  const answer = answerTo(bytes, {
    host: outside,
    epochSeconds: Math.floor(performance.now() / 1_000),
    grant: (protocol, internalPort, _wished, lifetimeSeconds) => {
      const matched = `ip daddr ${outside} ${protocol} dport ${PORTS[protocol]}`
      const command =
        lifetimeSeconds === 0
          ? `flush chain ip ${table} prerouting`
          : `add rule ip ${table} prerouting ${matched} dnat to ${address}:${internalPort}`
      process.stderr.write(`${command}\n`)
      return spawnSync("nft", [command]).status === 0 ? PORTS[protocol] : undefined
    }
  })
  if (answer !== undefined) socket.send(answer, port, address)
})
socket.bind(5_351, gateway, () => process.stderr.write("listening\n"))
