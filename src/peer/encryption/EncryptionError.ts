/** Why a relayed stream cannot be encrypted end to end, or is no longer to be believed. */
import { Schema } from "effect"
import { Encryption } from "../../domain/Encryption.ts"

/** The two ends have no scheme in common. */
export class NothingInCommon extends Schema.TaggedError<NothingInCommon>()("NothingInCommon", {
  source: Schema.Array(Encryption),
  destination: Schema.Array(Encryption)
}) {
  override get message() {
    const [source, destination] = [this.source, this.destination].map((list) => list.join(", "))
    return `source and destination share no encryption for relays: the source allows ${source}, the destination ${destination}; set relay-encryptions of one of them`
  }
}

/** The answer has a scheme that was not offered. */
export class NotOffered extends Schema.TaggedError<NotOffered>()("NotOffered", {
  chosen: Encryption,
  offered: Schema.Array(Encryption)
}) {
  override get message() {
    return `the other end, or the relay, chose ${this.chosen}, which was not among ${this.offered.join(", ")}`
  }
}

/** What the other end says of itself does not hold. */
export class NotBelieved extends Schema.TaggedError<NotBelieved>()("NotBelieved", { detail: Schema.String }) {
  override get message() {
    return `the other end, or the relay, is not to be believed: ${this.detail}`
  }
}

/** The clocks of the two ends are too far apart. */
export class ClocksApart extends Schema.TaggedError<ClocksApart>()("ClocksApart", { seconds: Schema.Finite }) {
  override get message() {
    return `the clocks of source and destination are ${this.seconds} s apart, at most 300 are allowed: set them, or allow tls in relay-encryptions`
  }
}

/** The TLS handshake inside the stream came to nothing. */
export class HandshakeFailed extends Schema.TaggedError<HandshakeFailed>()("HandshakeFailed", {
  detail: Schema.String
}) {
  override get message() {
    return `the handshake with the other end failed: ${this.detail}`
  }
}

export const EncryptionReason = Schema.Union([NothingInCommon, NotOffered, NotBelieved, ClocksApart, HandshakeFailed])

export type EncryptionReason = typeof EncryptionReason.Type

export class EncryptionError extends Schema.TaggedError<EncryptionError>()("EncryptionError", {
  reason: EncryptionReason
}) {
  override get message() {
    return this.reason.message
  }
}

/** The bytes of an encrypted stream are not those that the other end sent, or not all of them. */
export class StreamForged extends Error {
  override readonly name = "StreamForged"
}
