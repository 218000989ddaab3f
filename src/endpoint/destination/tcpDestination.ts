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
import { after, raceLater, whenClosed } from "../../internal/raceLater.ts"
import { connectTcp, type HostPort } from "../../internal/tcp.ts"
import type { RelayEncryption } from "../../peer/encryption/RelayEncryption.ts"
import type { Incoming } from "../../peer/Peers.ts"
import { connectRequest, connectResponse, PLAIN_ANSWER } from "../../protocol/Connect.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { decode, receiveFrameWithin, send, write } from "../../protocol/MessageStream.ts"
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

  /** Until it has taken too long, or the source gives the stream up: then nobody waits for the service any more. */
  const dialService = (stream: TransportStream) =>
    Effect.acquireRelease(
      raceLater(
        connectTcp(service).pipe(
          Effect.tap((socket) => Effect.sync(() => socket.on("error", () => {}))),
          Effect.mapError((error) => unreachable(error.code ?? error.message))
        ),
        after(
          Duration.toMillis(dialTimeout),
          Effect.suspend(() => Effect.fail(unreachable("timed out")))
        ),
        whenClosed(stream, userGone)
      ),
      (socket) => Effect.sync(() => abort(socket)),
      { interruptible: true }
    )

  const serveStream = Effect.fnUntraced(function* ({ messages, encryption }: Incoming, stream: TransportStream) {
    const request = yield* decode(connectRequest, yield* receiveFrameWithin(stream, messages, REQUEST_DEADLINE))
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
    const socket = yield* Effect.tapError(dialService(stream), (error) =>
      error.reason._tag === "UserGone"
        ? Effect.void
        : Effect.andThen(
            Effect.logWarning("service.unreachable", error.message),
            refuse(ErrorCode.DestinationDialFailed, error)
          )
    )
    const answer = encryption === undefined ? PLAIN_ANSWER : { ...PLAIN_ANSWER, ...secured.response }
    write(stream, connectResponse, answer, messages)
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
          Effect.ensuring(Effect.sync(() => leave(stream)))
        )
      )
    }
  }, Effect.scoped)

  return (incoming: Incoming): Effect.Effect<void> =>
    serveConnection(incoming).pipe(Effect.ignore, Effect.annotateLogs({ endpoint: options.name }))
}

/** A direct link is encrypted itself. */
const unsecured: ReturnType<RelayEncryption["answer"]> = Effect.succeed({
  response: PLAIN_ANSWER,
  secure: (stream) => Effect.succeed(stream)
})

const userGone = Effect.suspend(() => Effect.fail(new EndpointError({ reason: new UserGone() })))

/** What is left of a stream when nobody needs it: an answer may still be on its way, so it is ended, not cut. */
const leave = (stream: TransportStream): void => {
  if (!stream.destroyed) stream.end().resume()
}
