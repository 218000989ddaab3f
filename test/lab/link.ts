/**
 * Passes datagrams between two UDP ports, late, not all of them, and not too many at a time:
 *
 *     node link.ts PORT PORT DELAY-IN-MILLISECONDS LOSS MEGABITS-A-SECOND
 *
 * Each side is whoever sent to its port last.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram"
import { lateWay, PACKET_SOCKET } from "./lateWay.ts"

const [leftPort = 0, rightPort = 0, delayMillis = 0, loss = 0, megabits = 0] = process.argv.slice(2).map(Number)

interface Side {
  readonly socket: Socket
  user?: RemoteInfo
}

const open = (port: number): Promise<Side> =>
  new Promise((resolve) => {
    const socket = createSocket(PACKET_SOCKET)
    socket.bind(port, () => resolve({ socket }))
  })

const pass = (from: Side, to: Side) => {
  const way = lateWay({ delayMillis, loss, megabits }, (packet) => {
    if (to.user !== undefined) to.socket.send(packet, to.user.port, to.user.address)
  })
  from.socket.on("message", (packet, user) => {
    from.user = user
    way(packet)
  })
}

const [left, right] = await Promise.all([open(leftPort), open(rightPort)])
pass(left, right)
pass(right, left)
process.stderr.write("ready\n")
