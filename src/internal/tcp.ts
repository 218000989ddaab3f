/** TCP sockets as Effects. Every socket keeps its read half open after the end of its write half, and the other way. */
import { createServer, connect as dial, type NetConnectOpts, type Server, type Socket } from "node:net"
import { Effect } from "effect"

export interface HostPort {
  /** A name or an address; empty means this host (to dial), or every address (to listen). */
  readonly host: string
  readonly port: number
}

/** Connections that the system keeps for us until they are accepted. */
export const BACKLOG = 1_024

/** Dials over TCP. Node tries the addresses of a name as RFC 8305 asks. */
export const connectTcp = ({ host, port }: HostPort): Effect.Effect<Socket, NodeJS.ErrnoException> =>
  connect({ host: host === "" ? "localhost" : host, port, noDelay: true })

/** Dials. The socket is destroyed when interrupted, else it is the caller's; fails with the system's error. */
export const connect = (to: NetConnectOpts): Effect.Effect<Socket, NodeJS.ErrnoException> =>
  Effect.callback((resume) => {
    const socket = dial({ ...to, allowHalfOpen: true })
    const failed = (error: NodeJS.ErrnoException) => resume(Effect.fail(firstOf(error)))
    socket.once("error", failed).once("connect", () => {
      socket.off("error", failed)
      resume(Effect.succeed(socket))
    })
    return Effect.sync(() => socket.on("error", () => {}).destroy())
  })

/** When several addresses were tried, Node reports them all in one; the first tells the user most. */
const firstOf = (error: NodeJS.ErrnoException): NodeJS.ErrnoException =>
  error instanceof AggregateError ? (error.errors[0] as NodeJS.ErrnoException) : error

/**
 * Listens until the Scope ends; sockets arrive paused. Fails with the system's error. Sockets that were accepted are not
 * closed with the server.
 */
export const listenTcp = ({ host, port }: HostPort, accepted: (socket: Socket) => void) =>
  Effect.acquireRelease(
    Effect.callback<Server, NodeJS.ErrnoException>((resume) => {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, accepted)
      server.once("error", (error) => resume(Effect.fail(error)))
      server.listen({ port, backlog: BACKLOG, ...(host !== "" && { host }) }, () => resume(Effect.succeed(server)))
      return Effect.sync(() => server.close())
    }),
    (server) => Effect.sync(() => server.close())
  )
