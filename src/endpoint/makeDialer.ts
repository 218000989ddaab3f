/**
 * From a source to a destination: the best path is asked first, and the next one when it does not answer or refuses. A
 * path that is silent is told apart from a service that is slow by asking the path itself for a sign of life.
 */
import { Clock, Duration, Effect, Exit, Option, Stream, SubscriptionRef } from "effect"
import { choose } from "../peer/Paths.ts"
import { ConnectFailed, PeerError, PeerUnreachable } from "../peer/PeerError.ts"
import type { LocalEndpoint } from "../peer/Peers.ts"
import { messageOptions, type OpenPath, probeDeadline } from "../peer/RemotePeerActor.ts"
import { connectRequest, connectResponse } from "../protocol/Connect.ts"
import { receive, send } from "../protocol/MessageStream.ts"
import type { TransportStream } from "../transport/Transport.ts"

export interface Connected {
  /** User bytes, both ways. Belongs to the caller. */
  readonly stream: TransportStream
  readonly path: OpenPath
}

/** How long reaching the service may take, from the first try to its answer. */
export const DEFAULT_DIAL_TIMEOUT = Duration.seconds(10)

/** Makes the dialer of one source: it remembers which path was used last. */
export const makeDialer = (endpoint: LocalEndpoint, dialTimeout: Duration.Duration = DEFAULT_DIAL_TIMEOUT) => {
  let last: number | undefined

  /** The best path that was not tried yet; waits for one to open. */
  const nextPath = Effect.fnUntraced(function* (tried: ReadonlySet<number>) {
    const found = yield* SubscriptionRef.changes(endpoint.paths).pipe(
      Stream.map((paths) =>
        choose(
          paths.filter(({ id }) => !tried.has(id)),
          last
        )
      ),
      Stream.filter((choice) => choice !== undefined),
      Stream.runHead
    )
    return Option.getOrThrow(found)
  })

  const attempt = Effect.fnUntraced(function* (path: OpenPath) {
    const { connection } = path
    const messages = messageOptions(connection)
    const asked = Effect.gen(function* () {
      const stream = yield* Effect.acquireRelease(connection.open, (stream, exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) stream.destroy()
        })
      )
      yield* send(stream, connectRequest, { _tag: "Connect", encryptions: [] }, messages)
      const answer = yield* receive(stream, connectResponse, messages)
      if (answer._tag === "Connected") return stream
      stream.destroy()
      return yield* Effect.fail({
        message:
          answer._tag === "Refused" ? `${answer.message} (code ${answer.code})` : "the answer is not a connect answer"
      })
    })
    const silent = connection.probe.pipe(
      Effect.timeout(probeDeadline(path.roundTripMillis)),
      Effect.matchEffect({
        onSuccess: () => Effect.never,
        onFailure: () => Effect.andThen(endpoint.missed(path), Effect.fail({ message: "it does not answer" }))
      })
    )
    return yield* Effect.raceFirst(asked, silent)
  }, Effect.scoped)

  return Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const tried = new Set<number>()
    const causes: Array<string> = []
    const search = Effect.gen(function* () {
      while (true) {
        const { order, reason } = yield* nextPath(tried)
        const path = order[0]!
        tried.add(path.id)
        const result = yield* Effect.result(attempt(path))
        if (result._tag === "Success") {
          if (path.id !== last) {
            yield* Effect.logInfo("path.selected").pipe(
              Effect.annotateLogs({
                endpoint: endpoint.name,
                peer: path.peerId,
                path: path.id,
                address: path.address,
                rttMillis: Math.round(path.roundTripMillis * 100) / 100,
                reason,
                ...(order.length > 1 && {
                  others: order
                    .slice(1)
                    .map(({ address }) => address)
                    .join(",")
                })
              })
            )
          }
          last = path.id
          return { stream: result.success, path } satisfies Connected
        }
        causes.push(`${path.address}: ${result.failure.message}`)
        const untried = (yield* SubscriptionRef.get(endpoint.paths)).some(({ id }) => !tried.has(id))
        // A refusal is an answer; silence is not, and a path that is about to open may be better.
        if (!untried && result.failure.message !== "it does not answer") return yield* connectFailed(causes)
      }
    })
    return yield* search.pipe(
      Effect.timeoutOrElse({
        duration: dialTimeout,
        orElse: () =>
          Effect.gen(function* () {
            if (causes.length > 0) return yield* connectFailed(causes)
            const peers = (yield* SubscriptionRef.get(endpoint.peers))?.length ?? 0
            const afterMillis = (yield* Clock.currentTimeMillis) - startedAt
            return yield* new PeerError({
              reason: new PeerUnreachable({ endpoint: endpoint.name, peers, afterMillis })
            })
          })
      })
    )
  })

  function connectFailed(causes: ReadonlyArray<string>) {
    return Effect.fail(new PeerError({ reason: new ConnectFailed({ endpoint: endpoint.name, causes: [...causes] }) }))
  }
}
