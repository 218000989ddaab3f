/** A path with the connection behind it, and a count of the streams that we opened on it. */
import { Duration, Effect, Option } from "effect"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type { MessageOptions } from "../protocol/MessageStream.ts"
import type { RelayLink } from "../relay/client/RelayLinks.ts"
import type { Connection, TransportStream } from "../transport/Transport.ts"
import type { TransportError } from "../transport/TransportError.ts"
import { messageOptions } from "./DirectLink.ts"
import type { Direction, Path } from "./Paths.ts"

export interface OpenPath extends Path {
  /** What control called the peer when the path opened: for logs. */
  readonly listedAs: string
  readonly connection: Connection
  /** How messages go on its streams. */
  readonly messages: MessageOptions
  /** Through a relay: the key of the certificate by which the relay knows the destination. */
  readonly destinationKey: string | undefined
  /** Whether what is sent on it reaches this peer or nobody: upstream's relays take any destination of the endpoint. */
  readonly addressed: boolean
  /** Opens a stream on the connection, counted until it is closed. */
  readonly open: Effect.Effect<TransportStream, TransportError>
  /** How many streams of ours are open. */
  readonly streams: () => number
  /** To be run by whoever used the path and heard nothing. */
  readonly doubted: Effect.Effect<void>
}

/** A link whose round trip the handshake has not told is measured, for this long at most. */
const FIRST_SAMPLE = Duration.seconds(2)

let nextId = 0

/** Streams that we open on a connection, counted. */
const countedStreams = (connection: Connection) => {
  let streams = 0
  const count = (stream: TransportStream) => {
    streams++
    stream.once("close", () => {
      streams--
    })
  }
  return {
    open: Effect.tap(connection.open, (stream) => Effect.sync(() => count(stream))),
    streams: () => streams
  }
}

/** Makes a path of a connection that has passed its check. */
export const openPath = Effect.fnUntraced(function* (options: {
  readonly peerId: string
  readonly listedAs: string
  readonly connection: Connection
  readonly direction: Direction
  readonly doubted: (path: number) => Effect.Effect<void>
}) {
  const { peerId, listedAs, connection, direction } = options
  const measured = connection.traffic().roundTripMillis
  const roundTripMillis =
    measured ??
    (yield* connection.probe.pipe(
      Effect.timeoutOption(FIRST_SAMPLE),
      Effect.orElseSucceed(() => Option.none<number>()),
      Effect.map(Option.getOrElse(() => Duration.toMillis(FIRST_SAMPLE)))
    ))
  const id = nextId++
  const path: OpenPath = {
    id,
    peerId,
    listedAs,
    direction,
    carrier: connection.carrier,
    address: SocketAddress.format(connection.remoteAddress()),
    state: "Open",
    roundTripMillis,
    distanceMillis: roundTripMillis,
    connection,
    messages: messageOptions(connection),
    destinationKey: undefined,
    addressed: true,
    ...countedStreams(connection),
    doubted: options.doubted(id)
  }
  return path
})

/** Makes a path to a peer of a relay link. */
export const relayedPath = (options: {
  readonly peerId: string
  readonly listedAs: string
  readonly link: RelayLink
  readonly destinationKey: string
  readonly doubted: Effect.Effect<void>
}): OpenPath => {
  const { peerId, listedAs, link, destinationKey, doubted } = options
  const { connection, messages, state, roundTripMillis, distanceMillis } = link
  const address = SocketAddress.format(connection.remoteAddress())
  return {
    id: nextId++,
    peerId,
    listedAs,
    direction: "relay",
    carrier: connection.carrier,
    address,
    state,
    roundTripMillis,
    distanceMillis,
    connection,
    messages,
    destinationKey,
    // Only our relays know destinations by their keys, and only they take TCP.
    addressed: link.offer.carriers.includes("tcp"),
    ...countedStreams(connection),
    doubted
  }
}
