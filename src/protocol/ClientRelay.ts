/** Messages between a client and a relay. */
import { Schema } from "effect"
import { makeCodec } from "./Codec.ts"
import { AuthenticateReqSchema, AuthenticateRespSchema } from "./gen/client_relay_pb.js"
import { Refused, readRefused, writeRefused } from "./Refusal.ts"
import { Blob, BuildVersion, Metadata } from "./values.ts"

/** The hello of a relay link: what control sealed for this client and relay. */
export const AuthenticateRequest = Schema.Struct({
  authentication: Blob,
  metadata: Metadata,
  buildVersion: BuildVersion
})
export type AuthenticateRequest = typeof AuthenticateRequest.Type

/** The hello of a relay link as bytes. */
export const authenticateRequest = makeCodec(
  AuthenticateReqSchema,
  AuthenticateRequest,
  (message) => ({ ...message }),
  (value) => value
)

/** What a relay answers to the hello. */
export const AuthenticateResponse = Schema.Union([Refused, Schema.TaggedStruct("Accepted", {})])
export type AuthenticateResponse = typeof AuthenticateResponse.Type

/** The answer of a relay as bytes. */
export const authenticateResponse = makeCodec(
  AuthenticateRespSchema,
  AuthenticateResponse,
  ({ error }) => (error ? readRefused(error) : { _tag: "Accepted" }),
  (value) => (value._tag === "Refused" ? writeRefused(value) : {})
)
