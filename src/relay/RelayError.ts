/** Why a relay cannot run. Everything that may pass by itself is retried instead. */
import { Schema } from "effect"

/** What the relay remembers cannot be read or written. */
export class StateUnusable extends Schema.TaggedError<StateUnusable>()("StateUnusable", {
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.path} is unusable: ${this.detail}; repair the file, or remove it to register as a new relay`
  }
}

/** The control server is not the one that this relay belongs to. */
export class ControlChanged extends Schema.TaggedError<ControlChanged>()("ControlChanged", {
  control: Schema.String,
  expected: Schema.String,
  found: Schema.String,
  path: Schema.String
}) {
  override get message() {
    return `the control server at ${this.control} is ${this.found}, not ${this.expected} as before; if it was set up anew, remove ${this.path}`
  }
}

export const RelayReason = Schema.Union([StateUnusable, ControlChanged])

export type RelayReason = typeof RelayReason.Type

export class RelayError extends Schema.TaggedError<RelayError>()("RelayError", { reason: RelayReason }) {
  override get message() {
    return this.reason.message
  }
}
