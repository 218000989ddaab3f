/** `tcp://` on the user's side: every connection that comes in is carried to the destination. */
import type { Socket } from "node:net"
import { type Duration, Effect, FiberSet } from "effect"
import type { EndpointName } from "../../domain/EndpointName.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { abort } from "../../internal/abort.ts"
import { join } from "../../internal/join.ts"
import { raceLater, whenClosed } from "../../internal/raceLater.ts"
import { type HostPort, listenTcp } from "../../internal/tcp.ts"
import type { LocalEndpoint } from "../../peer/Peers.ts"
import { EndpointError, ListenFailed, UserGone } from "../EndpointError.ts"
import { makeDialer } from "../makeDialer.ts"

export interface TcpSourceOptions {
  readonly name: EndpointName
  readonly listen: HostPort
  readonly dialTimeout?: Duration.Duration | undefined
}

/** Connections that wait for the destination; further ones are refused. */
const MAX_WAITING = 1_024

/** Listens, and runs for as long as the Scope lives. The address that was bound. */
export const tcpSource = Effect.fnUntraced(function* (endpoint: LocalEndpoint, options: TcpSourceOptions) {
  const dial = makeDialer(endpoint, options.dialTimeout)
  const labels = { endpoint: options.name }
  const runConnection = yield* Effect.annotateLogs(FiberSet.makeRuntime<never, void, never>(), labels)
  let waiting = 0
  let refusing = false

  const carry = Effect.fnUntraced(function* (socket: Socket) {
    waiting++
    const { stream } = yield* raceLater(dial, whenClosed(socket, userGone)).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          waiting--
          if (waiting < MAX_WAITING / 2) refusing = false
        })
      )
    )
    yield* join(socket, stream)
  }, Effect.scoped)

  /** Said once each time that it begins: whoever floods us shall not flood the log. */
  const refuse = (socket: Socket) => {
    abort(socket)
    if (refusing) return
    refusing = true
    runConnection(
      Effect.logWarning("connections.refused").pipe(
        Effect.annotateLogs({ waiting, reason: "too many wait for the destination" })
      )
    )
  }

  const server = yield* listenTcp(options.listen, (socket) => {
    socket.on("error", () => {})
    if (waiting >= MAX_WAITING) return refuse(socket)
    runConnection(
      carry(socket).pipe(
        Effect.catch((error) => Effect.logWarning("connection.failed", error.message)),
        Effect.tapCause((cause) => Effect.logDebug("connection ended", cause)),
        Effect.ensuring(
          Effect.sync(() => {
            abort(socket)
          })
        )
      )
    )
  }).pipe(
    Effect.mapError((error) => {
      const address = SocketAddress.format({ host: options.listen.host || "*", port: options.listen.port })
      const reason = new ListenFailed({ endpoint: options.name, address, code: error.code ?? error.message })
      return new EndpointError({ reason })
    })
  )
  const bound = server.address() as { address: string; port: number }
  const address = { host: bound.address, port: bound.port }
  yield* Effect.logInfo("source.listening").pipe(
    Effect.annotateLogs({ endpoint: options.name, address: SocketAddress.format(address) })
  )
  return address
})

const userGone = Effect.suspend(() => Effect.fail(new EndpointError({ reason: new UserGone() })))
