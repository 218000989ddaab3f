/** A TCP proxy with faults: dialers connect to `address`, and what they send reaches the listener later, and back. */
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { Effect } from "effect"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import type { Faults, FaultyLink } from "../compliance/transport.ts"

export const slowLink = Effect.fnUntraced(function* (to: SocketAddress, { delayMillis = 0 }: Faults) {
  const sockets = new Set<Socket>()
  const timers = new Set<NodeJS.Timeout>()
  let cut = false

  const later = (deliver: () => void) => {
    if (delayMillis === 0) {
      if (!cut) deliver()
      return
    }
    const timer = setTimeout(() => {
      timers.delete(timer)
      if (!cut) deliver()
    }, delayMillis)
    timers.add(timer)
  }
  const carry = (from: Socket, into: Socket) => {
    sockets.add(from)
    from.on("error", () => {})
    from.on("data", (bytes) => {
      later(() => {
        if (into.write(bytes)) return
        from.pause()
        into.once("drain", () => from.resume())
      })
    })
    from.on("end", () => later(() => into.end()))
    from.on("close", () => {
      sockets.delete(from)
      if (from.errored) later(() => into.resetAndDestroy())
    })
  }

  const server = yield* Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const listening = createServer({ allowHalfOpen: true, noDelay: true }, (dialer) => {
        const listener = connect({ ...to, allowHalfOpen: true, noDelay: true })
        carry(dialer, listener)
        carry(listener, dialer)
      }).listen(0, "127.0.0.1", () => resume(Effect.succeed(listening)))
    }),
    (listening) =>
      Effect.callback<void>((resume) => {
        cut = true
        for (const timer of timers) clearTimeout(timer)
        listening.close(() => resume(Effect.void))
        for (const socket of sockets) socket.destroy()
      })
  )
  return {
    address: { host: "127.0.0.1", port: (server.address() as AddressInfo).port },
    cut: () => {
      cut = true
    }
  } satisfies FaultyLink
})
