/**
 * What can go wrong below the messages: sockets, handshakes, connections, streams.
 *
 * One error type with a `reason` from a closed union. The reasons name facts, not failures, and carry what was expected
 * and what was found; the message is built from them.
 */
import { Schema } from "effect"

/** The local address cannot be listened on. */
export class BindFailed extends Schema.TaggedError<BindFailed>()("BindFailed", {
  address: Schema.String,
  /** The system's error code: `EADDRINUSE`, `EACCES`, `EADDRNOTAVAIL`, … */
  code: Schema.String
}) {
  override get message() {
    return `cannot listen on ${this.address}: ${this.code === "EADDRINUSE" ? "address in use" : this.code}`
  }
}

/** This platform has no build of the transport's native part. */
export class Unsupported extends Schema.TaggedError<Unsupported>()("Unsupported", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** A second listener of a socket asked for what the first one rules out: a taken ALPN or another identity. */
export class ListenConflict extends Schema.TaggedError<ListenConflict>()("ListenConflict", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

/** No handshake was completed before the deadline. */
export class DialTimedOut extends Schema.TaggedError<DialTimedOut>()("DialTimedOut", { afterMillis: Schema.Finite }) {
  override get message() {
    return `no answer within ${this.afterMillis} ms`
  }
}

/** The system cannot reach the address, or nobody listens there. */
export class Unreachable extends Schema.TaggedError<Unreachable>()("Unreachable", {
  /** The system's error code: `ECONNREFUSED`, `EHOSTUNREACH`, `ENETUNREACH`, … */
  code: Schema.String
}) {
  override get message() {
    return `${this.code === "ECONNREFUSED" ? "connection refused" : "unreachable"} (${this.code})`
  }
}

/** The other end wants no connection from here: it does not admit the address, or takes nobody at the moment. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {
  override get message() {
    return "the other end refused the connection before the handshake; does it admit the address of this host?"
  }
}

/** The other end speaks none of the offered protocols. */
export class ProtocolRefused extends Schema.TaggedError<ProtocolRefused>()("ProtocolRefused", {
  offered: Schema.Array(Schema.String)
}) {
  override get message() {
    return `the other end speaks none of ${this.offered.join(", ")}`
  }
}

/** The other end showed no certificate although one is required. */
export class CertificateMissing extends Schema.TaggedError<CertificateMissing>()("CertificateMissing", {}) {
  override get message() {
    return "no certificate was shown"
  }
}

/** The certificate is not the pinned one, nor one of the expected ones. */
export class CertificateUnexpected extends Schema.TaggedError<CertificateUnexpected>()("CertificateUnexpected", {
  /** BLAKE2s-256 of the shown certificate, base32hex. */
  shown: Schema.String
}) {
  override get message() {
    return `certificate ${this.shown} is not an expected one`
  }
}

/** The certificate has another fingerprint than the one that was asked for. */
export class FingerprintMismatch extends Schema.TaggedError<FingerprintMismatch>()("FingerprintMismatch", {
  /** Both are SHA-256 of a certificate in its DER form, in hexadecimal. */
  expected: Schema.String,
  shown: Schema.String
}) {
  override get message() {
    return (
      `the certificate has the fingerprint ${this.shown}, not ${this.expected}: this is another server than the one that ` +
      "made the link, or its certificate was made anew; compare with what the server prints, and use its new link"
    )
  }
}

/** The certificate does not lead to a trusted root. */
export class CertificateUntrusted extends Schema.TaggedError<CertificateUntrusted>()("CertificateUntrusted", {
  detail: Schema.String
}) {
  override get message() {
    return `certificate not trusted: ${this.detail}`
  }
}

/** The certificate is for other names than the one that was dialed. */
export class CertificateNameMismatch extends Schema.TaggedError<CertificateNameMismatch>()("CertificateNameMismatch", {
  expected: Schema.String,
  names: Schema.String
}) {
  override get message() {
    return `certificate is for ${this.names || "no name"}, not for ${this.expected}`
  }
}

/** The certificate is not valid yet, or not any more. */
export class CertificateExpired extends Schema.TaggedError<CertificateExpired>()("CertificateExpired", {
  validFrom: Schema.String,
  validTo: Schema.String
}) {
  override get message() {
    return `certificate is valid only from ${this.validFrom} to ${this.validTo}`
  }
}

/** The handshake failed in a way that none of the other reasons names. */
export class HandshakeFailed extends Schema.TaggedError<HandshakeFailed>()("HandshakeFailed", {
  detail: Schema.String
}) {
  override get message() {
    return `handshake failed: ${this.detail}`
  }
}

/** The proxy on the way could not be reached, or did not open a connection. */
export class ProxyFailed extends Schema.TaggedError<ProxyFailed>()("ProxyFailed", {
  /** Its URL, without user name and password. */
  proxy: Schema.String,
  /** What happened and what to do, as a half sentence about "it". */
  detail: Schema.String
}) {
  override get message() {
    return `proxy ${this.proxy}: ${this.detail}`
  }
}

/** Somebody closed the connection and said why. */
export class Closed extends Schema.TaggedError<Closed>()("Closed", {
  by: Schema.Literals(["local", "peer"]),
  /**
   * An application close code (`protocol/ErrorCode`) when `application`, else one of the carrier: QUIC's (RFC 9000 §20) or
   * HTTP/2's (RFC 9113 §7).
   */
  code: Schema.Finite,
  application: Schema.Boolean,
  text: Schema.String
}) {
  override get message() {
    const who = this.by === "peer" ? "the other end" : "this end"
    return `${who} closed the connection (code ${this.code}${this.text === "" ? "" : `: ${this.text}`})`
  }
}

/** Nothing came from the other end for the idle timeout. */
export class Lost extends Schema.TaggedError<Lost>()("Lost", {}) {
  override get message() {
    return "the other end does not answer any more"
  }
}

export const TransportReason = Schema.Union([
  BindFailed,
  Unsupported,
  ListenConflict,
  DialTimedOut,
  Unreachable,
  Refused,
  ProtocolRefused,
  CertificateMissing,
  CertificateUnexpected,
  FingerprintMismatch,
  CertificateUntrusted,
  CertificateNameMismatch,
  CertificateExpired,
  HandshakeFailed,
  ProxyFailed,
  Closed,
  Lost
])

export type TransportReason = typeof TransportReason.Type

export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  reason: TransportReason
}) {
  override get message() {
    return this.reason.message
  }
}
