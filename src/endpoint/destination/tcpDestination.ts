/**
 * Beside the service: every stream that a source opens is carried to the service.
 *
 * The connect request is answered when the service has taken the connection, so that a source learns that it did not, and
 * can try elsewhere; upstream answers before it knows.
 */
import type { Duplex } from "node:stream"
import { Duration, Effect, FiberSet, type Scope } from "effect"
import type { EndpointName } from "../../domain/EndpointName.ts"
import { abort } from "../../internal/abort.ts"
import { join } from "../../internal/join.ts"
import { raceLater, whenClosed } from "../../internal/raceLater.ts"
import type { RelayEncryption } from "../../peer/encryption/RelayEncryption.ts"
import type { Incoming } from "../../peer/Peers.ts"
import { connectRequest, connectResponse, PLAIN_ANSWER, type ProxyVersion } from "../../protocol/Connect.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { decode, receiveFrameWithin, send, write } from "../../protocol/MessageStream.ts"
import type { TransportStream } from "../../transport/Transport.ts"
import { type EndpointError, userGone } from "../EndpointError.ts"
import { DEFAULT_DIAL_TIMEOUT } from "../makeDialer.ts"
import { dialService, type Service } from "./dialService.ts"
import { readUser } from "./readUser.ts"
import { noFacts, type StreamService } from "./StreamService.ts"

export interface TcpDestinationOptions {
  readonly name: EndpointName
  /** Dialed for each stream, or what serves streams itself. */
  readonly service: Service | StreamService
  /** The header that sources write to tell the service who its users are; undefined: none. */
  readonly proxyHeader?: ProxyVersion | undefined
  readonly dialTimeout?: Duration.Duration | undefined
  /** What reaches the service; undefined: `reachService`. */
  readonly dial?: ReturnType<typeof reachService> | undefined
}

const REQUEST_DEADLINE = Duration.seconds(5)

/** What to do with the connections of a destination: serve the streams of each until it ends. */
export const tcpDestination = (options: TcpDestinationOptions) => {
  const { service, proxyHeader = "none", dialTimeout = DEFAULT_DIAL_TIMEOUT } = options
  const serve = "serve" in service ? service.serve : undefined
  const dial = options.dial ?? reachService(service, dialTimeout)
  const headerAnswer = proxyHeader === "none" ? PLAIN_ANSWER : { ...PLAIN_ANSWER, proxy: proxyHeader }

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
    // When the source gives the stream up, nobody waits for the service any more.
    const socket = yield* Effect.tapError(raceLater(dial, whenClosed(stream, userGone)), (error) =>
      error.reason._tag === "UserGone"
        ? Effect.void
        : Effect.andThen(
            Effect.logWarning("service.unreachable", error.message),
            refuse(ErrorCode.DestinationDialFailed, error)
          )
    )
    // What serves requests needs no header where they tell of their user themselves.
    const plainAnswer = serve !== undefined && request.forwardingFields ? PLAIN_ANSWER : headerAnswer
    const answer = encryption === undefined ? plainAnswer : { ...plainAnswer, ...secured.response }
    write(stream, connectResponse, answer, messages)
    const plain = yield* Effect.tapError(secured.secure(stream), (error) =>
      Effect.logWarning("encryption.failed", error.message)
    )
    if (socket !== undefined) yield* join(plain, socket)
    else if (serve !== undefined) {
      const facts =
        plainAnswer.proxy === "none" ? noFacts : yield* Effect.tapError(readUser(plain), refuseHeader(plain))
      yield* serve(plain, facts)
    }
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

/** Dials the service, or asks it whether it is there: then there is no stream. */
export const reachService = (
  service: Service | StreamService,
  dialTimeout: Duration.Duration = DEFAULT_DIAL_TIMEOUT
): Effect.Effect<Duplex | undefined, EndpointError, Scope.Scope> =>
  "serve" in service ? Effect.as(service.reach, undefined) : dialService(service, dialTimeout)

/** A direct link is encrypted itself. */
const unsecured: ReturnType<RelayEncryption["answer"]> = Effect.succeed({
  response: { encryption: "none" },
  secure: (stream) => Effect.succeed(stream)
})

/** A stream whose user is not told as he was asked to be is cut: nothing of it is taken for a request. */
const refuseHeader =
  (stream: Duplex) =>
  ({ message }: EndpointError) =>
    Effect.andThen(
      Effect.logWarning("stream.refused", message),
      Effect.sync(() => abort(stream))
    )

/** What is left of a stream when nobody needs it: an answer may still be on its way, so it is ended, not cut. */
const leave = (stream: TransportStream): void => {
  if (!stream.destroyed) stream.end().resume()
}
