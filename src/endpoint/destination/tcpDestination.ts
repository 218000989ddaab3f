/**
 * `tcp://` beside the service: every stream that a source opens is carried to the service.
 *
 * The connect request is answered when the service has taken the connection, so that a source learns that it did not, and
 * can try elsewhere; upstream answers before it knows.
 */
import { Duration, Effect, FiberSet } from "effect"
import type { EndpointName } from "../../domain/EndpointName.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { abort } from "../../internal/abort.ts"
import { join } from "../../internal/join.ts"
import { connectTcp, type HostPort } from "../../internal/tcp.ts"
import type { RelayEncryption } from "../../peer/encryption/RelayEncryption.ts"
import type { Incoming } from "../../peer/Peers.ts"
import { connectRequest, connectResponse } from "../../protocol/Connect.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { receiveWithin, send } from "../../protocol/MessageStream.ts"
import type { TransportStream } from "../../transport/Transport.ts"
import { EndpointError, ServiceUnreachable, UserGone } from "../EndpointError.ts"
import { DEFAULT_DIAL_TIMEOUT } from "../makeDialer.ts"

export interface TcpDestinationOptions {
  readonly name: EndpointName
  readonly service: HostPort
  readonly dialTimeout?: Duration.Duration | undefined
}

const REQUEST_DEADLINE = Duration.seconds(5)

/** What to do with the connections of a destination: serve the streams of each until it ends. */
export const tcpDestination = (options: TcpDestinationOptions) => {
  const { service, dialTimeout = DEFAULT_DIAL_TIMEOUT } = options
  const address = SocketAddress.format({ host: service.host || "localhost", port: service.port })
  const unreachable = (code: string) => new EndpointError({ reason: new ServiceUnreachable({ address, code }) })

  const dialService = Effect.acquireRelease(
    connectTcp(service).pipe(
      Effect.tap((socket) => Effect.sync(() => socket.on("error", () => {}))),
      Effect.mapError((error) => unreachable(error.code ?? error.message)),
      Effect.timeoutOrElse({ duration: dialTimeout, orElse: () => Effect.fail(unreachable("timed out")) })
    ),
    (socket) => Effect.sync(() => abort(socket)),
    { interruptible: true }
  )

  const serveStream = Effect.fnUntraced(function* ({ messages, encryption }: Incoming, stream: TransportStream) {
    const request = yield* receiveWithin(stream, connectRequest, messages, REQUEST_DEADLINE)
    if (request._tag === "Check") {
      yield* send(stream, connectResponse, { _tag: "Checked" }, messages)
      stream.end().resume()
      return
    }
    const refuse = (code: ErrorCode, { message }: Error) =>
      Effect.ignore(send(stream, connectResponse, { _tag: "Refused", code, message }, messages))
    const secured = yield* (encryption === undefined ? unsecured : encryption.answer(request)).pipe(
      Effect.tapError((error) => refuse(ErrorCode.DestinationRelayEncryptionError, error))
    )
    const reached = dialService.pipe(
      Effect.tapError((error) =>
        Effect.andThen(
          Effect.logWarning("service.unreachable", error.message),
          refuse(ErrorCode.DestinationDialFailed, error)
        )
      )
    )
    const socket = yield* Effect.raceFirst(reached, gone(stream))
    yield* send(stream, connectResponse, { _tag: "Connected", proxy: "none", ...secured.response }, messages)
    const plain = yield* Effect.tapError(secured.secure(stream), (error) =>
      Effect.logWarning("encryption.failed", error.message)
    )
    yield* join(plain, socket)
  }, Effect.scoped)

  const serveConnection = Effect.fnUntraced(function* (incoming: Incoming) {
    const streams = yield* FiberSet.make<void, never>()
    while (true) {
      const stream = yield* incoming.connection.accept
      yield* FiberSet.run(
        streams,
        serveStream(incoming, stream).pipe(
          Effect.tapCause((cause) => Effect.logDebug("stream ended", cause)),
          Effect.ignoreCause,
          Effect.ensuring(Effect.sync(() => leave(stream))),
          Effect.annotateLogs({ endpoint: options.name })
        )
      )
    }
  }, Effect.scoped)

  return (incoming: Incoming): Effect.Effect<void> => Effect.ignore(serveConnection(incoming))
}

/** A direct link is encrypted itself. */
const unsecured: ReturnType<RelayEncryption["answer"]> = Effect.succeed({
  response: { encryption: "none" },
  secure: (stream) => Effect.succeed(stream)
})

/** Fails when the source gives the stream up: then nobody waits for the service any more. */
const gone = (stream: TransportStream): Effect.Effect<never, EndpointError> =>
  Effect.callback((resume) => {
    const closed = () => resume(Effect.fail(new EndpointError({ reason: new UserGone() })))
    if (stream.destroyed) closed()
    else stream.once("close", closed)
    return Effect.sync(() => stream.off("close", closed))
  })

/** What is left of a stream when nobody needs it: an answer may still be on its way, so it is ended, not cut. */
const leave = (stream: TransportStream): void => {
  if (!stream.destroyed) stream.end().resume()
}
