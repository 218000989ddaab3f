/** A destination that serves streams itself, instead of joining each with a connection to somebody else. */
import type { Duplex } from "node:stream"
import type { Effect } from "effect"
import type { SocketAddress } from "../../domain/SocketAddress.ts"
import type { EndpointError } from "../EndpointError.ts"

/** What the source has told of the user of a stream. */
export interface StreamFacts {
  /** Undefined when it is not known here. */
  readonly user: SocketAddress | undefined
  /** Whether the user speaks TLS with the source. */
  readonly secure: boolean
}

/** Nothing was told. */
export const noFacts: StreamFacts = { user: undefined, secure: false }

export interface StreamService {
  /** Succeeds when what stands behind it can be reached: to be asked before a stream is taken. */
  readonly reach: Effect.Effect<void, EndpointError>
  /** Serves a stream until it is over. Cuts it when interrupted. */
  readonly serve: (stream: Duplex, facts?: StreamFacts) => Effect.Effect<void>
}
