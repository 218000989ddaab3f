/** What can be wrong with a message, or with the stream it comes on. */
import { Schema } from "effect"

/** The stream ended where a message could have begun. */
export class StreamEnded extends Schema.TaggedError<StreamEnded>()("StreamEnded", {}) {
  override get message() {
    return "the other side sent no further message"
  }
}

/** The stream ended within a message. */
export class FrameTruncated extends Schema.TaggedError<FrameTruncated>()("FrameTruncated", {}) {
  override get message() {
    return "the message was cut short"
  }
}

/** The message is longer than it may be here. */
export class FrameTooLarge extends Schema.TaggedError<FrameTooLarge>()("FrameTooLarge", {
  /** As text: a length of 8 bytes may be beyond any number. */
  length: Schema.String,
  limit: Schema.Finite
}) {
  override get message() {
    return `a message of ${this.length} bytes is longer than the ${this.limit} that are allowed here`
  }
}

/** The bytes are not the expected protobuf message. */
export class Malformed extends Schema.TaggedError<Malformed>()("Malformed", {
  type: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `not a ${this.type} message: ${this.detail}`
  }
}

/** The message is well-formed, but a value in it is missing or outside its limits. */
export class ValueRefused extends Schema.TaggedError<ValueRefused>()("ValueRefused", {
  type: Schema.String,
  /** Where in the message, with dots. */
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.type}${this.path === "" ? "" : `, ${this.path}`}: ${this.detail}`
  }
}

/** The stream or its connection failed. */
export class StreamFailed extends Schema.TaggedError<StreamFailed>()("StreamFailed", {
  cause: Schema.Defect(),
  /** The application close code of the connection, when the other side closed it with one. */
  code: Schema.optionalKey(Schema.Finite),
  /** What the other side said when it closed the connection with that code. */
  text: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
}

/** Nothing came in time. */
export class AnswerTimedOut extends Schema.TaggedError<AnswerTimedOut>()("AnswerTimedOut", {
  afterMillis: Schema.Finite
}) {
  override get message() {
    return `no message within ${this.afterMillis} ms`
  }
}

/** Everything that can be wrong. */
export const ProtocolReason = Schema.Union([
  StreamEnded,
  FrameTruncated,
  FrameTooLarge,
  Malformed,
  ValueRefused,
  StreamFailed,
  AnswerTimedOut
])

export type ProtocolReason = typeof ProtocolReason.Type

/** The one error of this layer. */
export class ProtocolError extends Schema.TaggedError<ProtocolError>()("ProtocolError", { reason: ProtocolReason }) {
  override get message() {
    return this.reason.message
  }
}
