/**
 * A link in user space: `link.ts <port behind it>`. Prints its port. 20 ms each way, 0.5 % loss each way, 200 Mbit/s with
 * a queue of 1 MB.
 */
import { createSocket, type RemoteInfo } from "node:dgram"
import { lateWay, PACKET_SOCKET } from "../../test/lab/lateWay.ts"

const QUALITY = { delayMillis: 20, loss: 0.005, megabits: 200 }

const behind = Number(process.argv[2])
const [front, back] = [createSocket(PACKET_SOCKET), createSocket(PACKET_SOCKET)]
let dialer: RemoteInfo | undefined

const there = lateWay(QUALITY, (packet) => back.send(packet, behind, "127.0.0.1"))
const andBack = lateWay(QUALITY, (packet) => front.send(packet, dialer!.port, "127.0.0.1"))
front.on("message", (packet, from) => {
  dialer = from
  there(packet)
})
back.on("message", andBack)
back.bind(0, "127.0.0.1")
front.bind(0, "127.0.0.1", () => process.stdout.write(`${front.address().port}\n`))
