/** Why a control server is of no use to this client. Everything that may pass by itself is retried instead. */
import { Schema } from "effect"

/** The server does not accept the token. */
export class TokenRejected extends Schema.TaggedError<TokenRejected>()("TokenRejected", {
  server: Schema.String,
  explanation: Schema.String
}) {
  override get message() {
    return `the control server at ${this.server} refused the token: ${this.explanation}`
  }
}

/** The server does not let this client use the endpoint in this role. */
export class EndpointRefused extends Schema.TaggedError<EndpointRefused>()("EndpointRefused", {
  endpoint: Schema.String,
  role: Schema.String,
  code: Schema.Finite,
  explanation: Schema.String
}) {
  override get message() {
    return `the control server refused the ${this.role} ${this.endpoint} (code ${this.code}): ${this.explanation}`
  }
}

/** What a server remembers of itself cannot be read or written. */
export class StateUnusable extends Schema.TaggedError<StateUnusable>()("StateUnusable", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.path} is unusable: ${this.detail}; repair the file, or remove it to start as a new server`
  }
}

export const DirectoryReason = Schema.Union([TokenRejected, EndpointRefused, StateUnusable])

export type DirectoryReason = typeof DirectoryReason.Type

export class DirectoryError extends Schema.TaggedError<DirectoryError>()("DirectoryError", {
  reason: DirectoryReason
}) {
  override get message() {
    return this.reason.message
  }
}
