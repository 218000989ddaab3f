/**
 * What two clients say on a direct link before it carries streams: the dialer opens a stream and sends an empty request,
 * the listener takes exactly that stream first and sends an empty answer. It shows that streams work, both ways.
 */
import { Duration, Effect } from "effect"
import { frameWidth } from "../protocol/Alpn.ts"
import { connectRequest, connectResponse } from "../protocol/Connect.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../protocol/Frame.ts"
import { type MessageOptions, receive, send } from "../protocol/MessageStream.ts"
import type { Connection } from "../transport/Transport.ts"

/** For the whole exchange. */
const CHECK_DEADLINE = Duration.seconds(5)

/** How messages go on a direct link. */
export const messageOptions = (connection: Connection): MessageOptions => ({
  width: frameWidth("direct", connection.protocol),
  limit: MAX_STRANGER_MESSAGE_BYTES
})

interface CheckFailed {
  readonly _tag: "CheckFailed"
  readonly message: string
}

const failed = (message: string): CheckFailed => ({ _tag: "CheckFailed", message })

/** Closes the connection with code 2 when the exchange fails. */
const withinDeadline = <E extends { readonly message: string }>(
  connection: Connection,
  exchange: Effect.Effect<void, E>
): Effect.Effect<void, CheckFailed> =>
  exchange.pipe(
    Effect.mapError(({ message }) => failed(message)),
    Effect.timeoutOrElse({
      duration: CHECK_DEADLINE,
      orElse: () => Effect.fail(failed("the liveness check was not finished in time"))
    }),
    Effect.tapError(({ message }) => connection.close(ErrorCode.ConnectionCheckFailed, message))
  )

/** The dialing end's half. */
export const checkLiveness = (connection: Connection): Effect.Effect<void, CheckFailed> =>
  withinDeadline(
    connection,
    Effect.gen(function* () {
      const messages = messageOptions(connection)
      const stream = yield* connection.open
      yield* send(stream, connectRequest, { _tag: "Check" }, messages)
      const answer = yield* receive(stream, connectResponse, messages)
      stream.end().resume()
      if (answer._tag !== "Checked")
        return yield* Effect.fail(failed("the liveness check was answered with something else"))
    })
  )

/** The listening end's half. */
export const answerLiveness = (connection: Connection): Effect.Effect<void, CheckFailed> =>
  withinDeadline(
    connection,
    Effect.gen(function* () {
      const messages = messageOptions(connection)
      const stream = yield* connection.accept
      const request = yield* receive(stream, connectRequest, messages)
      if (request._tag !== "Check") return yield* Effect.fail(failed("a liveness check was expected first"))
      yield* send(stream, connectResponse, { _tag: "Checked" }, messages)
      stream.end().resume()
    })
  )
