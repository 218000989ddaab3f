/**
 * On the user's side: every connection that comes in is carried to the destination, behind the header that tells the service
 * whose it is, if the destination asks for one.
 */
import type { Duplex } from "node:stream"
import { type Duration, Effect, FiberSet } from "effect"
import type { Balancing } from "../../domain/Balancing.ts"
import type { EndpointName } from "../../domain/EndpointName.ts"
import { abort } from "../../internal/abort.ts"
import { join } from "../../internal/join.ts"
import { raceLater, whenClosed } from "../../internal/raceLater.ts"
import type { LocalEndpoint } from "../../peer/Peers.ts"
import { type EndpointError, userGone } from "../EndpointError.ts"
import { makeDialer } from "../makeDialer.ts"
import { FirstBytes } from "./FirstBytes.ts"
import { type Listen, listenUsers } from "./listenUsers.ts"
import { proxyHeader } from "./proxyHeader.ts"
import type { User } from "./User.ts"

export interface TcpSourceOptions {
  readonly name: EndpointName
  readonly listen: Listen
  /** How users are spread over several destinations; undefined: by the best path. */
  readonly balancing?: Balancing | undefined
  readonly dialTimeout?: Duration.Duration | undefined
}

/** Connections that wait for the destination; further ones are refused. */
const MAX_WAITING = 1_024

/** Listens, and runs for as long as the Scope lives. The address that was bound. */
export const tcpSource = Effect.fnUntraced(function* (endpoint: LocalEndpoint, options: TcpSourceOptions) {
  const dial = makeDialer(endpoint, options.dialTimeout, options.balancing)
  const labels = { endpoint: options.name }
  const runConnection = yield* Effect.annotateLogs(FiberSet.makeRuntime<never, void, never>(), labels)
  let waiting = 0
  let refusing = false

  const carry = Effect.fnUntraced(function* ({ stream: socket, facts }: User) {
    waiting++
    const firstBytes = new FirstBytes(socket)
    const { stream, proxy } = yield* raceLater(dial(firstBytes), whenClosed(socket, userGone)).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          waiting--
          if (waiting < MAX_WAITING / 2) refusing = false
        })
      )
    )
    if (proxy !== "none") stream.write(proxyHeader(proxy, facts))
    firstBytes.handOver(stream)
    yield* join(socket, stream)
  }, Effect.scoped)

  /** Said once each time that it begins: whoever floods us shall not flood the log. */
  const refuse = (socket: Duplex) => {
    abort(socket)
    if (refusing) return
    refusing = true
    runConnection(
      Effect.logWarning("connections.refused").pipe(
        Effect.annotateLogs({ waiting, reason: "too many wait for the destination" })
      )
    )
  }

  const come = (user: User) => {
    const socket = user.stream
    if (waiting >= MAX_WAITING) return refuse(socket)
    runConnection(
      carry(user).pipe(
        Effect.catch((error) => Effect.logWarning("connection.failed", error.message)),
        Effect.tapCause((cause) => Effect.logDebug("connection ended", cause)),
        Effect.ensuring(
          Effect.sync(() => {
            abort(socket)
          })
        )
      )
    )
  }
  const failed = ({ message }: EndpointError) => {
    runConnection(Effect.logInfo("user.refused", message))
  }
  const address = yield* listenUsers(options.name, options.listen, { come, failed })
  yield* Effect.logInfo("source.listening").pipe(Effect.annotateLogs({ endpoint: options.name, address }))
  return address
})
