/**
 * What can be wrong with settings: files, their keys and their values. All problems that were found come together.
 *
 * Each reason knows where the value came from (`origin`: a file, or "the command line") and which key it has, written as
 * in TOML: `client.destinations.web.url`, `server.ingress[0].addr`. No reason carries a token.
 */
import { Schema } from "effect"

/** The file is not there. */
export class FileMissing extends Schema.TaggedError<FileMissing>()("FileMissing", {
  file: Schema.String,
  /** The key that names the file, and where that is; both are empty for a configuration file itself. */
  key: Schema.String,
  origin: Schema.String
}) {
  override get message() {
    return `${prefix(this)}there is no file ${this.file}: check the path`
  }
}

/** The file is there, but the system does not let us read it. */
export class FileUnreadable extends Schema.TaggedError<FileUnreadable>()("FileUnreadable", {
  file: Schema.String,
  key: Schema.String,
  origin: Schema.String,
  /** The system's error code: `EACCES`, `EISDIR`, … */
  code: Schema.String
}) {
  override get message() {
    const why = this.code === "EACCES" ? "permission denied; let this user read it" : this.code
    return `${prefix(this)}cannot read ${this.file}: ${this.code === "EISDIR" ? "it is a folder; name a file" : why}`
  }
}

/** The file is not TOML. */
export class SyntaxInvalid extends Schema.TaggedError<SyntaxInvalid>()("SyntaxInvalid", {
  file: Schema.String,
  line: Schema.Int,
  column: Schema.Int,
  detail: Schema.String
}) {
  override get message() {
    return `${this.file}:${this.line}:${this.column}: ${this.detail}`
  }
}

/** There is no such key. */
export class KeyUnknown extends Schema.TaggedError<KeyUnknown>()("KeyUnknown", {
  origin: Schema.String,
  key: Schema.String,
  /** The known key that was probably meant. */
  nearest: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    const why =
      this.nearest === undefined ? "is not a setting; remove it" : `is not a setting; did you mean ${this.nearest}?`
    return `${this.origin}: ${this.key} ${why}`
  }
}

/** The same key is there twice, spelled with other capitals. */
export class KeyTwice extends Schema.TaggedError<KeyTwice>()("KeyTwice", {
  origin: Schema.String,
  key: Schema.String
}) {
  override get message() {
    return `${this.origin}: ${this.key} is set twice (capitals make no difference); keep one`
  }
}

/** The value is not one that the key can have. */
export class ValueInvalid extends Schema.TaggedError<ValueInvalid>()("ValueInvalid", {
  origin: Schema.String,
  key: Schema.String,
  /** What is wrong with it and what to write instead, as a half sentence. */
  detail: Schema.String
}) {
  override get message() {
    return `${this.origin}: ${this.key}: ${this.detail}`
  }
}

/** A setting that must be there is not. */
export class ValueMissing extends Schema.TaggedError<ValueMissing>()("ValueMissing", {
  /** Where the table is that misses it; undefined when there is none. */
  origin: Schema.optionalKey(Schema.String),
  key: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${prefix({ origin: this.origin })}${this.key} is missing: ${this.detail}`
  }
}

export const ConfigReason = Schema.Union([
  FileMissing,
  FileUnreadable,
  SyntaxInvalid,
  KeyUnknown,
  KeyTwice,
  ValueInvalid,
  ValueMissing
])

export type ConfigReason = typeof ConfigReason.Type

export class ConfigError extends Schema.TaggedError<ConfigError>()("ConfigError", {
  reasons: Schema.NonEmptyArray(ConfigReason)
}) {
  override get message() {
    return this.reasons.map((reason) => reason.message).join("\n")
  }
}

const prefix = (parts: { readonly origin?: string | undefined; readonly key?: string }) =>
  [parts.origin, parts.key].map((part) => (part ? `${part}: ` : "")).join("")
