import { Schema } from "effect"
import { TransportError } from "../transport/TransportError.ts"

/** A role cannot run where it is told to listen. */
export class CannotListen extends Schema.TaggedError<CannotListen>()("CannotListen", {
  detail: Schema.String,
  advice: Schema.String
}) {
  override get message() {
    return `${this.detail}; ${this.advice}`
  }
}

/** Somebody else listens there. */
export const isTaken = (error: unknown): error is TransportError =>
  error instanceof TransportError && error.reason._tag === "BindFailed" && error.reason.code === "EADDRINUSE"

/** Adds what to do about it to the error of a taken address; other errors say it themselves. */
export const withAdvice =
  (advice: string) =>
  <E>(error: E): E | CannotListen =>
    isTaken(error) ? new CannotListen({ detail: error.message, advice }) : error
