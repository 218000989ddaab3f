/**
 * How every listening role receives those who have not said who they are: a few of each address, and a word to those who
 * may not stay.
 */
import { Duration, Effect } from "effect"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type { Connection } from "./Transport.ts"

/** Connections of one address that have not said hello yet. */
const MAX_STRANGERS_PER_ADDRESS = 64
/** Whoever is turned away has this long to read why before the connection is closed. */
const REFUSAL_GRACE = Duration.seconds(1)

/** Counts strangers by their address; one for all listeners of a role. */
export const makeReception = () => {
  const strangers = new Map<string, number>()
  return {
    /** Counts the connection while the Scope lives. False when there are too many of its address. */
    admit: (connection: Connection) => {
      const { host } = connection.remoteAddress()
      return Effect.acquireRelease(
        Effect.sync(() => {
          const count = (strangers.get(host) ?? 0) + 1
          strangers.set(host, count)
          return count <= MAX_STRANGERS_PER_ADDRESS
        }),
        () =>
          Effect.sync(() => {
            const count = strangers.get(host)! - 1
            if (count === 0) strangers.delete(host)
            else strangers.set(host, count)
          })
      )
    }
  }
}

/** Closes one connection too many of an address. The code says nothing about who it is: it may come back later. */
export const crowdedOut = (connection: Connection, event: string) =>
  turnAway(connection, {
    event,
    code: NO_PARTICULAR_REASON,
    message: "too many connections from this address are not authenticated yet"
  })

/**
 * Closes a connection with a code, after `answer` was sent and had a moment to be read.
 *
 * @param event what is logged, with the address and the reason
 */
export const turnAway = Effect.fnUntraced(function* (
  connection: Connection,
  refusal: { readonly event: string; readonly code: number; readonly message: string },
  answer?: Effect.Effect<unknown, unknown>
) {
  const { event, code, message } = refusal
  yield* Effect.logInfo(event).pipe(
    Effect.annotateLogs({ address: SocketAddress.format(connection.remoteAddress()), reason: message })
  )
  if (answer !== undefined) {
    // Whoever does not read it must not keep us.
    yield* Effect.timeoutOption(Effect.ignore(answer), REFUSAL_GRACE)
    yield* Effect.timeoutOption(connection.closed, REFUSAL_GRACE)
  }
  yield* connection.close(code, message)
})

/** 100 and above would be about the one who is turned away, who would give up for good. */
const NO_PARTICULAR_REASON = 0
