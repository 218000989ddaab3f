/** Why a user's connection cannot be carried to the other side. */
import { Schema } from "effect"

/** Nobody announces the other side, or no path to it opened in time. */
export class PeerUnreachable extends Schema.TaggedError<PeerUnreachable>()("PeerUnreachable", {
  endpoint: Schema.String,
  /** How many clients announce the other side. */
  peers: Schema.Finite,
  afterMillis: Schema.Finite
}) {
  override get message() {
    return this.peers === 0
      ? `nobody offers ${this.endpoint}: is the client of its other side running, with the same name?`
      : `no path to any of the ${this.peers} peers of ${this.endpoint} opened within ${this.afterMillis} ms`
  }
}

/** Every path was tried, and none worked. */
export class ConnectFailed extends Schema.TaggedError<ConnectFailed>()("ConnectFailed", {
  endpoint: Schema.String,
  causes: Schema.Array(Schema.String)
}) {
  override get message() {
    return `no peer of ${this.endpoint} took the connection: ${this.causes.join("; ")}`
  }
}

export const PeerReason = Schema.Union([PeerUnreachable, ConnectFailed])

export type PeerReason = typeof PeerReason.Type

export class PeerError extends Schema.TaggedError<PeerError>()("PeerError", { reason: PeerReason }) {
  override get message() {
    return this.reason.message
  }
}
