/**
 * What can be wrong with certificate files. Each reason names the file and says what to do about it.
 */
import { Schema } from "effect"

/** The file is not there. */
export class FileMissing extends Schema.TaggedError<FileMissing>()("FileMissing", { file: Schema.String }) {
  override get message() {
    return `there is no file ${this.file}: check the path`
  }
}

/** The file is there, but the system does not let us read it. */
export class FileUnreadable extends Schema.TaggedError<FileUnreadable>()("FileUnreadable", {
  file: Schema.String,
  /** The system's error code: `EACCES`, `EISDIR`, … */
  code: Schema.String
}) {
  override get message() {
    const what = this.code === "EACCES" ? "permission denied; let this user read it" : this.code
    return `cannot read ${this.file}: ${this.code === "EISDIR" ? "it is a folder; name a file in it" : what}`
  }
}

/** No PEM certificate is in the file. */
export class CertificateAbsent extends Schema.TaggedError<CertificateAbsent>()("CertificateAbsent", {
  file: Schema.String,
  /** Whether the file holds a private key: the two files are probably swapped. */
  holdsKey: Schema.Boolean
}) {
  override get message() {
    return this.holdsKey
      ? `${this.file} holds a private key and no certificate: are the certificate file and the key file swapped?`
      : `${this.file} holds no certificate: a PEM file with a "BEGIN CERTIFICATE" line is expected`
  }
}

/** A certificate is in the file, but it cannot be parsed. */
export class CertificateMalformed extends Schema.TaggedError<CertificateMalformed>()("CertificateMalformed", {
  file: Schema.String,
  /** Which certificate of the file, from 1. */
  position: Schema.Int
}) {
  override get message() {
    return `certificate ${this.position} in ${this.file} cannot be parsed: export it again as PEM`
  }
}

/** No PEM private key is in the file. */
export class KeyAbsent extends Schema.TaggedError<KeyAbsent>()("KeyAbsent", {
  file: Schema.String,
  /** Whether the file holds a certificate: the two files are probably swapped. */
  holdsCertificate: Schema.Boolean
}) {
  override get message() {
    return this.holdsCertificate
      ? `${this.file} holds a certificate and no private key: are the certificate file and the key file swapped?`
      : `${this.file} holds no private key: a PEM file with a "BEGIN PRIVATE KEY" line is expected`
  }
}

/** The private key needs a passphrase, and there is nobody to ask. */
export class KeyEncrypted extends Schema.TaggedError<KeyEncrypted>()("KeyEncrypted", { file: Schema.String }) {
  override get message() {
    return `the private key in ${this.file} is encrypted: decrypt it first (openssl pkey -in ${this.file} -out key.pem)`
  }
}

/** A private key is in the file, but it cannot be parsed. */
export class KeyMalformed extends Schema.TaggedError<KeyMalformed>()("KeyMalformed", { file: Schema.String }) {
  override get message() {
    return `the private key in ${this.file} cannot be parsed: export it again as PEM (PKCS #8)`
  }
}

/** The private key belongs to another certificate. */
export class KeyMismatch extends Schema.TaggedError<KeyMismatch>()("KeyMismatch", {
  certificateFile: Schema.String,
  keyFile: Schema.String,
  /** Whether it belongs to a later certificate of the same file. */
  ofLaterCertificate: Schema.Boolean
}) {
  override get message() {
    return this.ofLaterCertificate
      ? `the key in ${this.keyFile} is not that of the first certificate in ${this.certificateFile}: put the server's own certificate first, its issuers after it`
      : `the key in ${this.keyFile} does not belong to the certificate in ${this.certificateFile}: use the pair that was made together`
  }
}

/** What a server made for itself cannot be read, or not be kept. */
export class OwnIdentityUnusable extends Schema.TaggedError<OwnIdentityUnusable>()("OwnIdentityUnusable", {
  file: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.file} is unusable: ${this.detail}; repair it, or remove it to make another identity, with a new link for all clients`
  }
}

export const CertsReason = Schema.Union([
  FileMissing,
  FileUnreadable,
  CertificateAbsent,
  CertificateMalformed,
  KeyAbsent,
  KeyEncrypted,
  KeyMalformed,
  KeyMismatch,
  OwnIdentityUnusable
])

export type CertsReason = typeof CertsReason.Type

export class CertsError extends Schema.TaggedError<CertsError>()("CertsError", { reason: CertsReason }) {
  override get message() {
    return this.reason.message
  }
}
