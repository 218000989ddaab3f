/** Why an endpoint of a client cannot run, or cannot serve a user. */
import { Effect, Schema } from "effect"

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

/** The path of a source's socket cannot be listened on. */
export class SocketUnavailable extends Schema.TaggedError<SocketUnavailable>()("SocketUnavailable", {
  endpoint: Schema.String,
  path: Schema.String,
  /** The system's error code, or `LIVE`, `NO_SOCKET`, `NO_FOLDER`. */
  code: Schema.String
}) {
  override get message() {
    const why = SOCKET_PROBLEMS[this.code] ?? `${this.code};`
    return `source ${this.endpoint} cannot listen on unix:${this.path}: ${why} or set another path in client.sources.${this.endpoint}.url`
  }
}

const SOCKET_PROBLEMS: Readonly<Record<string, string>> = {
  LIVE: "another process listens there. Stop it,",
  NO_SOCKET: "there is a file that is no socket. Move it away,",
  NO_FOLDER: "its folder is not there. Make it,",
  EACCES: "permission denied. Let this user write to its folder,"
}

/** The service beside a destination cannot be reached. */
export class ServiceUnreachable extends Schema.TaggedError<ServiceUnreachable>()("ServiceUnreachable", {
  address: Schema.String,
  /** The system's error code (`ECONNREFUSED`, …), or `timed out`. */
  code: Schema.String
}) {
  override get message() {
    const advice = UNREACHABLE[this.code]
    return `cannot reach the service at ${this.address}: ${this.code}${advice === undefined ? "" : `, ${advice}`}`
  }
}

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nobody listens there; start the service, or correct the url of the destination",
  ENOENT: "there is no such socket; start the service, or correct the url of the destination",
  EACCES: "permission denied; let this user write to the socket",
  ENOTFOUND: "there is no such host; correct the url of the destination",
  "timed out": "it does not answer; check the address and the firewalls on the way, or set a longer dial-timeout"
}

/** The certificate of a service is not one that was to be trusted. */
export class ServiceUntrusted extends Schema.TaggedError<ServiceUntrusted>()("ServiceUntrusted", {
  address: Schema.String,
  /** What the certificate had to be valid for. */
  name: Schema.String,
  /** OpenSSL's word for it: `SELF_SIGNED_CERT_IN_CHAIN`, `CERT_HAS_EXPIRED`, … */
  code: Schema.String,
  /** What it is valid for instead, when that is what is wrong. */
  names: Schema.String
}) {
  override get message() {
    const prefix = `the certificate of the service at ${this.address}`
    if (this.names !== "") {
      return `${prefix} is not for ${this.name} (${this.names}); write a name that it has into the url of the destination`
    }
    if (this.code === "CERT_HAS_EXPIRED" || this.code === "CERT_NOT_YET_VALID") {
      return `${prefix} is not valid now (${this.code}); renew it, or check the clocks`
    }
    return `${prefix} is not trusted (${this.code}); set cas-file of the destination to the roots that issued it`
  }
}

/** TLS with a service failed before there was a connection. */
export class ServiceNotSecured extends Schema.TaggedError<ServiceNotSecured>()("ServiceNotSecured", {
  address: Schema.String,
  /** Of OpenSSL (`ERR_SSL_…`), or the system. */
  code: Schema.String
}) {
  override get message() {
    return `no TLS with the service at ${this.address}: ${this.code}${/WRONG_VERSION|PACKET_LENGTH/.test(this.code) ? ", it does not speak TLS; write tcp:// in the url of the destination" : ""}`
  }
}

/** TLS with a user failed before there was a connection. */
export class UserNotSecured extends Schema.TaggedError<UserNotSecured>()("UserNotSecured", {
  address: Schema.String,
  /** Of OpenSSL (`ERR_SSL_…`), or in words. */
  code: Schema.String
}) {
  override get message() {
    const what = USERS_FAULTS[this.code] ?? this.code
    return `no TLS with the user at ${this.address}: ${what}`
  }
}

const USERS_FAULTS: Readonly<Record<string, string>> = {
  ERR_SSL_HTTP_REQUEST: "he speaks HTTP without TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "he does not speak TLS",
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: "he shows no certificate, which cas-file asks for",
  ERR_SSL_PROVIDER_SIGNATURE_FAILURE: "his certificate is signed by none of the roots in cas-file",
  ERR_TLS_HANDSHAKE_TIMEOUT: "he did not finish in time",
  ECONNRESET: "he went away"
}

/** The user closed the connection before it was established. */
export class UserGone extends Schema.TaggedError<UserGone>()("UserGone", {}) {
  override get message() {
    return "the user closed the connection before it was established"
  }
}

/** A source did not say as it was asked to whose stream it is. */
export class HeaderUnreadable extends Schema.TaggedError<HeaderUnreadable>()("HeaderUnreadable", {
  why: Schema.String
}) {
  override get message() {
    return `cannot read the header of the PROXY protocol that a source writes: ${this.why}; check which program the source is`
  }
}

export const EndpointReason = Schema.Union([
  ListenFailed,
  SocketUnavailable,
  ServiceUnreachable,
  ServiceUntrusted,
  ServiceNotSecured,
  UserNotSecured,
  UserGone,
  HeaderUnreadable
])

export type EndpointReason = typeof EndpointReason.Type

export class EndpointError extends Schema.TaggedError<EndpointError>()("EndpointError", { reason: EndpointReason }) {
  override get message() {
    return this.reason.message
  }
}

/** Fails because there is nobody to serve any more. */
export const userGone = Effect.suspend(() => Effect.fail(new EndpointError({ reason: new UserGone() })))
