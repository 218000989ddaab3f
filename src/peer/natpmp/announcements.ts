import { createSocket } from "node:dgram"
import { Effect } from "effect"
import type { Datagram } from "../../transport/Transport.ts"

/** Where routers tell all hosts of a network that they were started or have another address (RFC 6886 §3.2.1). */
const GROUP = "224.0.0.1"
const PORT = 5350

/**
 * Hears what routers say to all hosts of the network that this address is in, until it is interrupted. Where another
 * program has the port for itself nothing is heard, and the next renewal shows what has happened.
 */
export const hearAnnouncements = (address: string, heard: (datagram: Datagram) => void): Effect.Effect<never> =>
  Effect.callback(() => {
    const socket = createSocket({ type: "udp4", reuseAddr: true })
    socket.on("error", () => {})
    socket.on("message", (bytes, from) => heard({ from: { host: from.address, port: from.port }, bytes }))
    socket.bind(PORT, () => {
      try {
        socket.addMembership(GROUP, address)
      } catch {
        // The address is gone again.
      }
    })
    return Effect.sync(() => socket.close())
  })
