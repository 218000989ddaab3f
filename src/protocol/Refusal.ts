import { Schema } from "effect"
import type { Error as ErrorMessage } from "./gen/error_pb.js"

/** Longest explanation that is taken in; the rest is cut off. */
const MAX_EXPLANATION = 4096

/** The other side said no: a code (`ErrorCode`, or one that is newer than this program) and an explanation. */
export const Refused = Schema.TaggedStruct("Refused", { code: Schema.Int, message: Schema.String })

export type Refused = typeof Refused.Type

/** What of an error message is to be checked. */
export const readRefused = ({ code, message }: ErrorMessage) => ({
  _tag: "Refused" as const,
  code,
  message: message.slice(0, MAX_EXPLANATION).toWellFormed()
})

/** The member of an answer that makes it a refusal. */
export const writeRefused = ({ code, message }: Refused) => ({ error: { code, message } })
