import { Effect } from "effect"
import { makeAuthority, type ServerNames } from "./Authority.ts"

/** A leaf for a TLS server of these names, from a root of its own whose key is thrown away. */
export const issueServer = (names: ServerNames) =>
  Effect.flatMap(makeAuthority(), (authority) => authority.issueServer(names))

/** A leaf for a TLS client, from a root of its own whose key is thrown away. */
export const issueClient = Effect.flatMap(makeAuthority(), (authority) => authority.issueClient())
