import { Schema } from "effect"

/**
 * Upstream's words for a session with a control server. `disconnected`, of an endpoint: it does not run at the moment, and is
 * tried again.
 */
export const ConnectionStatus = Schema.Literals(["not_connected", "connected", "reconnecting", "disconnected"])

export type ConnectionStatus = typeof ConnectionStatus.Type

/** A session, or the search for one. */
export type Session = { readonly _tag: "Online" } | { readonly _tag: "Connecting"; readonly wasOnline: boolean }

export const connectionStatus = (session: Session): ConnectionStatus => {
  if (session._tag === "Online") return "connected"
  return session.wasOnline ? "reconnecting" : "not_connected"
}
