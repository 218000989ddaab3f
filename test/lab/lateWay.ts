/** What a way through a network does to packets. */
export interface WayQuality {
  /** In milliseconds. */
  readonly delayMillis: number
  /** Share of the packets. */
  readonly loss: number
  /** Megabits a second, with a queue of 1 MB; 0 for as fast as it goes. */
  readonly megabits: number
}

const QUEUE_BYTES = 1_000_000

/** Passes packets on late, not all of them, and not too many at a time; in order. */
export const lateWay = ({ delayMillis, loss, megabits }: WayQuality, deliver: (packet: Buffer) => void) => {
  const bytesPerMilli = megabits === 0 ? Number.POSITIVE_INFINITY : (megabits * 1_000) / 8
  const queue: Array<{ readonly packet: Buffer; readonly at: number }> = []
  let free = 0
  let running = false
  const tick = () => {
    const now = performance.now()
    while (queue.length > 0 && queue[0]!.at <= now) deliver(queue.shift()!.packet)
    running = queue.length > 0
    if (running) setTimeout(tick, 1)
  }
  return (packet: Buffer): void => {
    if (Math.random() < loss) return
    const now = performance.now()
    free = Math.max(free, now)
    if ((free - now) * bytesPerMilli > QUEUE_BYTES) return
    free += packet.length / bytesPerMilli
    queue.push({ packet, at: free + delayMillis })
    if (running) return
    running = true
    setTimeout(tick, 1)
  }
}

/** A UDP socket for many packets. */
export const PACKET_SOCKET = {
  type: "udp4" as const,
  recvBufferSize: 4 << 20,
  sendBufferSize: 4 << 20,
  // The default costs a trip to the thread pool for each packet.
  lookup: (host: string, _options: unknown, found: (error: null, address: string, family: number) => void) =>
    found(null, host, 4)
}
