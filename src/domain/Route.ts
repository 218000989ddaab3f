import { Schema } from "effect"

/** Which paths an endpoint may use: a direct link, a relay, or whichever works. */
export const Route = Schema.Literals(["any", "direct", "relay"])

export type Route = typeof Route.Type

/** Whether a direct link is allowed. Both ends must allow it. */
export const allowsDirect = (route: Route): boolean => route !== "relay"

/** Whether a relay is allowed. Both ends must allow it. */
export const allowsRelay = (route: Route): boolean => route !== "direct"
