/** Why an endpoint of a client cannot run. */
import { Schema } from "effect"

/** The address of a source cannot be listened on. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  endpoint: Schema.String,
  address: Schema.String,
  /** The system's error code: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, … */
  code: Schema.String
}) {
  override get message() {
    const what = this.code === "EADDRINUSE" ? "address in use" : this.code
    return `source ${this.endpoint} cannot listen on ${this.address}: ${what}. Set another port in client.sources.${this.endpoint}.url`
  }
}

/** The service beside a destination cannot be reached. */
export class ServiceUnreachable extends Schema.TaggedError<ServiceUnreachable>()("ServiceUnreachable", {
  address: Schema.String,
  /** The system's error code (`ECONNREFUSED`, …), or `timed out`. */
  code: Schema.String
}) {
  override get message() {
    return `cannot reach the service at ${this.address}: ${this.code}`
  }
}

/** The user closed the connection before it was established. */
export class UserGone extends Schema.TaggedError<UserGone>()("UserGone", {}) {
  override get message() {
    return "the user closed the connection before it was established"
  }
}

export const EndpointReason = Schema.Union([ListenFailed, ServiceUnreachable, UserGone])

export type EndpointReason = typeof EndpointReason.Type

export class EndpointError extends Schema.TaggedError<EndpointError>()("EndpointError", { reason: EndpointReason }) {
  override get message() {
    return this.reason.message
  }
}
