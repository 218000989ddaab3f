import type { Socket } from "node:net"
import type { TLSSocket } from "node:tls"

/**
 * Gives a socket of TLS, which has none of its own, a way to be reset: by resetting the connection that it was made on. In a
 * turn of its own, because within a callback of TLS Node frees what it is just using.
 */
export const resettable = (secure: TLSSocket, connection: Socket): TLSSocket => {
  let resetting = false
  secure.resetAndDestroy = () => {
    if (!resetting) {
      resetting = true
      setImmediate(() => {
        if (!connection.destroyed) connection.resetAndDestroy()
        secure.destroy()
      })
    }
    return secure
  }
  return secure
}
