/**
 * Messages on a stream, in order, one whole frame at a time. Exactly the bytes of a frame are taken from the stream: what
 * follows (user bytes after a connect answer) stays there for whoever reads next. While messages are read, nobody else
 * may read the stream.
 */
import type { Readable, Writable } from "node:stream"
import { Duration, Effect, Result } from "effect"
import { after, raceLater } from "../internal/raceLater.ts"
import type { FrameWidth } from "./Alpn.ts"
import type { Codec } from "./Codec.ts"
import { decodeLength, encodeFrame } from "./Frame.ts"
import {
  AnswerTimedOut,
  FrameTruncated,
  ProtocolError,
  type ProtocolReason,
  StreamEnded,
  StreamFailed
} from "./ProtocolError.ts"

/** How messages go on the streams of one connection. */
export interface MessageOptions {
  readonly width: FrameWidth
  /** Longest message that is taken in, in bytes. */
  readonly limit: number
}

/** Writes one message; waits while the stream has no room. */
export const send = <A>(
  stream: Writable,
  codec: Codec<A>,
  value: A,
  options: MessageOptions
): Effect.Effect<void, ProtocolError> => Effect.suspend(() => sendFrame(stream, codec.encode(value), options))

/** Writes the bytes of one message, whatever they mean. */
export const sendFrame = (
  stream: Writable,
  message: Uint8Array,
  { width }: MessageOptions
): Effect.Effect<void, ProtocolError> =>
  Effect.callback<void, ProtocolError>((resume) => {
    if (stream.destroyed || stream.writableEnded) {
      resume(Effect.fail(failed(stream.errored)))
      return
    }
    // A stream that is destroyed while it writes need not call back.
    const onClose = () => resume(Effect.fail(failed(stream.errored)))
    stream.once("close", onClose)
    stream.write(encodeFrame(message, width), (error) => {
      stream.off("close", onClose)
      resume(error ? Effect.fail(failed(stream.errored ?? error)) : Effect.void)
    })
    return Effect.sync(() => stream.off("close", onClose))
  })

/** Writes one message and does not wait: for whoever reads or joins the stream next, and hears then what went wrong. */
export const write = <A>(stream: Writable, codec: Codec<A>, value: A, options: MessageOptions): void =>
  writeFrame(stream, codec.encode(value), options)

/** The same with the bytes of a message, whatever they mean. */
export const writeFrame = (stream: Writable, message: Uint8Array, { width }: MessageOptions): void => {
  stream.write(encodeFrame(message, width))
}

/** Reads the next message. */
export const receive = <A>(stream: Readable, codec: Codec<A>, options: MessageOptions) =>
  receiving(stream, options, codec.decode)

/** What the bytes of a message mean. */
export const decode = <A>(codec: Codec<A>, message: Uint8Array) => Effect.fromResult(codec.decode(message))

/** Reads the bytes of the next message, whatever they mean. */
export const receiveFrame = (stream: Readable, options: MessageOptions) =>
  receiving<Buffer>(stream, options, Result.succeed)

/** Reads the next message within a time. */
export const receiveWithin = <A>(stream: Readable, codec: Codec<A>, options: MessageOptions, within: Duration.Input) =>
  receive(stream, codec, options).pipe(Effect.timeoutOrElse({ duration: within, orElse: () => timedOut(within) }))

/** Reads the bytes of the next message within a time, by a timer that costs little: for the streams of users. */
export const receiveFrameWithin = (stream: Readable, options: MessageOptions, within: Duration.Duration) =>
  raceLater(
    receiveFrame(stream, options),
    after(
      Duration.toMillis(within),
      Effect.suspend(() => timedOut(within))
    )
  )

const timedOut = (within: Duration.Input) =>
  Effect.fail(new ProtocolError({ reason: new AnswerTimedOut({ afterMillis: Duration.toMillis(within) }) }))

/** Takes exactly the bytes of one frame. A single callback, because it is what every stream begins with. */
const receiving = <A>(
  stream: Readable,
  { width, limit }: MessageOptions,
  meaning: (message: Buffer) => Result.Result<A, ProtocolError>
) =>
  Effect.callback<A, ProtocolError>((resume) => {
    let prefixed = false
    let length: number = width
    let missing = length
    let parts: Array<Buffer> = []
    const finish = (result: Result.Result<A, ProtocolError>) => {
      stop()
      resume(Effect.fromResult(result))
    }
    const refuse = (reason: ProtocolReason) => finish(Result.fail(new ProtocolError({ reason })))
    const onReadable = () => {
      while (true) {
        while (missing > 0) {
          const part: Buffer | null = stream.read(Math.min(missing, Math.max(stream.readableLength, 1)))
          if (part === null) return
          parts.push(part)
          missing -= part.length
        }
        const bytes = parts.length === 1 ? parts[0]! : Buffer.concat(parts)
        if (prefixed) return finish(meaning(bytes))
        const announced = decodeLength(bytes, limit)
        if (Result.isFailure(announced)) return refuse(announced.failure)
        prefixed = true
        length = announced.success
        missing = length
        parts = []
      }
    }
    const onEnd = () => refuse(prefixed || missing < length ? new FrameTruncated() : new StreamEnded())
    const onClose = () => finish(Result.fail(failed(stream.errored)))
    const stop = () => stream.off("readable", onReadable).off("end", onEnd).off("close", onClose)
    stream.on("readable", onReadable).on("end", onEnd).on("close", onClose)
    if (stream.readableEnded) onEnd()
    else if (stream.destroyed) onClose()
    else onReadable()
    return Effect.sync(stop)
  })

const failed = (cause: unknown): ProtocolError => {
  const error = cause ?? new Error("the stream is closed")
  const closed = applicationClose(error)
  return new ProtocolError({ reason: new StreamFailed({ cause: error, ...closed }) })
}

/** Recognised by its shape: messages do not know transports. */
const applicationClose = (error: unknown): { code: number; text: string } | undefined => {
  const { reason } = error as {
    reason?: { _tag: string; by: string; application: boolean; code: number; text: string }
  }
  return reason?._tag === "Closed" && reason.application && reason.by === "peer"
    ? { code: reason.code, text: reason.text }
    : undefined
}
