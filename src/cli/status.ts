import { Effect } from "effect"
import type { HostPort } from "../config/HostPort.ts"
import type { Place } from "../config/Place.ts"
import { serveStatus } from "../status/serveStatus.ts"
import { listenAddress } from "./listenAddress.ts"
import { withAdvice } from "./withAdvice.ts"

/** Prepares a role for telling its status, if it is configured to: what to do with the status once the role is started. */
export const statusTeller = Effect.fnUntraced(function* (place: Place, configured: HostPort | undefined) {
  if (configured === undefined) return () => Effect.void
  // Without a host it is up to the system whether there is IPv6.
  const address = configured.host === "" ? configured : yield* listenAddress(place, configured)
  return (status: Effect.Effect<unknown>) =>
    serveStatus(address, status, configured.host).pipe(
      Effect.mapError(withAdvice(`set ${place.key} to another port`)),
      Effect.asVoid
    )
})
