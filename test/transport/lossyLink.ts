/** A userspace UDP link with faults: dialers send to `address`, and what survives reaches the listener, and back. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram"
import { Effect } from "effect"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import type { Faults, FaultyLink } from "../compliance/transport.ts"

export const lossyLink = Effect.fnUntraced(function* (to: SocketAddress, faults: Faults) {
  const { delayMillis = 0, loss = 0, duplication = 0, reordering = 0 } = faults
  let cut = false
  const timers = new Set<NodeJS.Timeout>()
  const [front, back] = [yield* udp, yield* udp]
  let dialer: RemoteInfo | undefined

  const carry = (from: Socket, packet: Buffer, port: number) => {
    if (cut || Math.random() < loss) return
    const copies = Math.random() < duplication ? 2 : 1
    for (let copy = 0; copy < copies; copy++) {
      const late = Math.random() < reordering ? 3 + 10 * Math.random() : 0
      if (delayMillis + late === 0) {
        from.send(packet, port, "127.0.0.1")
        continue
      }
      const timer = setTimeout(() => {
        timers.delete(timer)
        if (!cut) from.send(packet, port, "127.0.0.1")
      }, delayMillis + late)
      timers.add(timer)
    }
  }
  front.on("message", (packet, from) => {
    dialer = from
    carry(back, packet, to.port)
  })
  back.on("message", (packet) => {
    if (dialer !== undefined) carry(front, packet, dialer.port)
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      cut = true
      for (const timer of timers) clearTimeout(timer)
    })
  )
  return {
    address: { host: "127.0.0.1", port: front.address().port },
    cut: () => {
      cut = true
    },
    mend: () => {
      cut = false
    }
  } satisfies FaultyLink & { readonly mend: () => void }
})

const udp = Effect.acquireRelease(
  Effect.callback<Socket>((resume) => {
    const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20, sendBufferSize: 4 << 20 })
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
)
