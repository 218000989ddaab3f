/**
 * A link in user space: `link.ts <port behind it>`. Prints its port. 20 ms each way, 0.5 % loss each way, 200 Mbit/s with
 * a queue of 1 MB.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram"

const DELAY_MILLIS = 20
const LOSS = 0.005
const BYTES_PER_MILLI = 200_000_000 / 8 / 1000
const QUEUE_BYTES = 1_000_000

const behind = Number(process.argv[2])
const options = {
  type: "udp4" as const,
  recvBufferSize: 4 << 20,
  sendBufferSize: 4 << 20,
  lookup: (host: string, _options: unknown, found: (error: null, address: string, family: number) => void) =>
    found(null, host, 4)
}
const [front, back] = [createSocket(options), createSocket(options)]
let dialer: RemoteInfo | undefined

const direction = (socket: Socket, port: () => number) => {
  const queue: Array<{ readonly packet: Buffer; readonly at: number }> = []
  let free = 0
  let running = false
  const tick = () => {
    const now = performance.now()
    while (queue.length > 0 && queue[0]!.at <= now) socket.send(queue.shift()!.packet, port(), "127.0.0.1")
    running = queue.length > 0
    if (running) setTimeout(tick, 1)
  }
  return (packet: Buffer) => {
    if (Math.random() < LOSS) return
    const now = performance.now()
    free = Math.max(free, now)
    if ((free - now) * BYTES_PER_MILLI > QUEUE_BYTES) return
    free += packet.length / BYTES_PER_MILLI
    queue.push({ packet, at: free + DELAY_MILLIS })
    if (running) return
    running = true
    setTimeout(tick, 1)
  }
}

const there = direction(back, () => behind)
const andBack = direction(front, () => dialer!.port)
front.on("message", (packet, from) => {
  dialer = from
  there(packet)
})
back.on("message", andBack)
back.bind(0, "127.0.0.1")
front.bind(0, "127.0.0.1", () => process.stdout.write(`${front.address().port}\n`))
