/**
 * Passes datagrams between two UDP ports, late, not all of them, and not too many at a time:
 *
 *     node link.ts PORT PORT DELAY-IN-MILLISECONDS LOSS MEGABITS-A-SECOND
 *
 * Each side is whoever sent to its port last.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram"

const [leftPort = 0, rightPort = 0, delayMillis = 0, loss = 0, megabits = 0] = process.argv.slice(2).map(Number)
const bytesPerMilli = megabits === 0 ? Number.POSITIVE_INFINITY : (megabits * 1_000) / 8
const QUEUE_BYTES = 1_000_000

const open = (port: number): Promise<Socket> =>
  new Promise((resolve) => {
    const socket = createSocket({
      type: "udp4",
      recvBufferSize: 4 << 20,
      sendBufferSize: 4 << 20,
      // The default costs a trip to the thread pool for each datagram.
      lookup: (host, _options, found) => found(null, host, 4)
    })
    socket.bind(port, () => resolve(socket))
  })

const pass = (from: Socket, to: Socket, heard: (side: RemoteInfo) => void, other: () => RemoteInfo | undefined) => {
  const queue: Array<{ readonly packet: Buffer; readonly at: number }> = []
  let free = 0
  let running = false
  const tick = () => {
    const now = performance.now()
    const target = other()
    while (queue.length > 0 && queue[0]!.at <= now) {
      const { packet } = queue.shift()!
      if (target !== undefined) to.send(packet, target.port, target.address)
    }
    running = queue.length > 0
    if (running) setTimeout(tick, 1)
  }
  from.on("message", (packet, side) => {
    heard(side)
    if (Math.random() < loss) return
    const now = performance.now()
    free = Math.max(free, now)
    if ((free - now) * bytesPerMilli > QUEUE_BYTES) return
    free += packet.length / bytesPerMilli
    queue.push({ packet, at: free + delayMillis })
    if (running) return
    running = true
    setTimeout(tick, 1)
  })
}

const [left, right] = await Promise.all([open(leftPort), open(rightPort)])
const sides: { left?: RemoteInfo; right?: RemoteInfo } = {}
pass(
  left,
  right,
  (side) => {
    sides.left = side
  },
  () => sides.right
)
pass(
  right,
  left,
  (side) => {
    sides.right = side
  },
  () => sides.left
)
process.stderr.write("ready\n")
