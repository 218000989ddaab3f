/**
 * From a source to a destination: the best path is asked first, and the next one when it does not answer or refuses. A
 * path that is silent is told apart from a service that is slow by asking the path itself for a sign of life.
 */
import type { Duplex } from "node:stream"
import { Clock, Duration, Effect, Option, Stream, SubscriptionRef } from "effect"
import { openFor } from "../internal/openFor.ts"
import { after, raceLater } from "../internal/raceLater.ts"
import type { OpenPath } from "../peer/OpenPath.ts"
import { type Choice, choose } from "../peer/Paths.ts"
import { ConnectFailed, PeerError, PeerUnreachable } from "../peer/PeerError.ts"
import type { LocalEndpoint } from "../peer/Peers.ts"
import { probeDeadline } from "../peer/RemotePeerActor.ts"
import { connectRequest, connectResponse, DIRECT_REQUEST } from "../protocol/Connect.ts"
import { receive, write } from "../protocol/MessageStream.ts"
import { signOfLife } from "../transport/signOfLife.ts"
import type { TransportStream } from "../transport/Transport.ts"

export interface Connected {
  /** User bytes, both ways. Destroyed with the Scope, if it is not over by then. */
  readonly stream: Duplex
  readonly path: OpenPath
}

/** How long reaching the service may take, from the first try to its answer. */
export const DEFAULT_DIAL_TIMEOUT = Duration.seconds(10)

/** Besides two round trips: a connection that is answered in this time costs no probe. */
const GRACE_MILLIS = 100

/** Nothing came back, which says nothing of the service: the path may answer again. */
interface Silent {
  readonly _tag: "Silent"
  readonly message: string
}

interface NotTaken {
  readonly _tag: "NotTaken"
  readonly message: string
}

const silence: Silent = { _tag: "Silent", message: "it does not answer" }

/** Makes the dialer of one source: it remembers which path was used last. */
export const makeDialer = (endpoint: LocalEndpoint, dialTimeout: Duration.Duration = DEFAULT_DIAL_TIMEOUT) => {
  let last: number | undefined

  /** What is decided on the paths as they are, or else on the first change of them that allows it. */
  const firstOf = Effect.fnUntraced(function* <A>(decide: (paths: ReadonlyArray<OpenPath>) => A | undefined) {
    const now = decide(yield* SubscriptionRef.get(endpoint.paths))
    if (now !== undefined) return now
    const later = yield* SubscriptionRef.changes(endpoint.paths).pipe(
      Stream.map(decide),
      Stream.filter((decided) => decided !== undefined),
      Stream.runHead
    )
    return Option.getOrThrow(later)
  })

  const converse = Effect.fnUntraced(function* (path: OpenPath, stream: TransportStream) {
    const { messages, destinationKey } = path
    // A direct link is encrypted itself.
    const offer = destinationKey === undefined ? undefined : yield* endpoint.encryption.offer
    const wish =
      offer === undefined || destinationKey === undefined
        ? DIRECT_REQUEST
        : { ...DIRECT_REQUEST, ...offer.request, destinationKey }
    write(stream, connectRequest, wish, messages)
    const answer = yield* receive(stream, connectResponse, messages)
    if (answer._tag === "Connected") {
      return offer === undefined
        ? { stream, encryption: undefined }
        : { stream: yield* offer.secure(stream, answer), encryption: answer.encryption }
    }
    const message =
      answer._tag === "Refused" ? `${answer.message} (code ${answer.code})` : "the answer is not a connect answer"
    return yield* Effect.fail<NotTaken>({ _tag: "NotTaken", message })
  })

  const ask = (path: OpenPath) =>
    openFor(path.open, (stream) => converse(path, stream)).pipe(
      // A stream that fails says something of the service only while its connection lives.
      Effect.mapError((error): Silent | NotTaken =>
        error._tag === "NotTaken" || path.connection.ended() === undefined
          ? { _tag: "NotTaken", message: error.message }
          : { _tag: "Silent", message: error.message }
      )
    )

  /** Fails when the path itself does not answer, or when it is not sure any more and one opens that was not tried. */
  const giveUp = (path: OpenPath, tried: ReadonlyMap<number, unknown>) => {
    const unanswered = Effect.flatMap(signOfLife(path.connection, probeDeadline(path.roundTripMillis)), (sign) =>
      Option.isSome(sign) ? Effect.never : Effect.andThen(path.doubted, Effect.fail(silence))
    )
    const overtaken = firstOf((paths) =>
      !paths.some(({ id, state }) => id === path.id && state === "Open") &&
      paths.some(({ id, state }) => !tried.has(id) && state === "Open")
        ? silence
        : undefined
    ).pipe(Effect.flatMap(Effect.fail))
    return Effect.raceFirst(unanswered, overtaken)
  }

  const attempt = (path: OpenPath, tried: ReadonlyMap<number, unknown>) =>
    raceLater(ask(path), after(GRACE_MILLIS + 2 * path.roundTripMillis, giveUp(path, tried)))

  return Effect.gen(function* () {
    const startedAt = yield* Clock.currentTimeMillis
    const tried = new Map<number, Silent | NotTaken | undefined>()
    const causes: Array<string> = []
    const mayTake = ({ id, state }: OpenPath) =>
      !tried.has(id) || (state === "Open" && tried.get(id)?._tag === "Silent")

    const search = Effect.gen(function* () {
      while (true) {
        const choice = yield* firstOf((paths) => choose(paths.filter(mayTake), last))
        const path = choice.order[0]!
        tried.set(path.id, undefined)
        const result = yield* Effect.result(attempt(path, tried))
        if (result._tag === "Success") {
          const { stream, encryption } = result.success
          if (path.id !== last) {
            yield* Effect.logInfo("path.selected").pipe(
              Effect.annotateLogs({ ...explain(endpoint, choice), ...(encryption !== undefined && { encryption }) })
            )
          }
          last = path.id
          return { stream, path } satisfies Connected
        }
        tried.set(path.id, result.failure)
        causes.push(`${path.address}: ${result.failure.message}`)
        // A refusal is an answer. After silence only, a path may still open that works.
        const untried = (yield* SubscriptionRef.get(endpoint.paths)).some(({ id }) => !tried.has(id))
        const refused = [...tried.values()].some((failure) => failure?._tag === "NotTaken")
        if (refused && !untried) return yield* connectFailed(endpoint, causes)
      }
    })
    const tooLate = Effect.gen(function* () {
      if (causes.length > 0) return yield* connectFailed(endpoint, causes)
      const peers = (yield* SubscriptionRef.get(endpoint.peers))?.length ?? 0
      const afterMillis = (yield* Clock.currentTimeMillis) - startedAt
      return yield* new PeerError({ reason: new PeerUnreachable({ endpoint: endpoint.name, peers, afterMillis }) })
    })
    return yield* raceLater(search, after(Duration.toMillis(dialTimeout), tooLate))
  })
}

/** The latest causes are enough for a person. */
const MAX_CAUSES = 8

const connectFailed = (endpoint: LocalEndpoint, causes: ReadonlyArray<string>) =>
  Effect.fail(
    new PeerError({ reason: new ConnectFailed({ endpoint: endpoint.name, causes: causes.slice(-MAX_CAUSES) }) })
  )

/** The event of a choice: what was taken and why, and what was not. */
const explain = (endpoint: LocalEndpoint, { order, reason }: Choice<OpenPath>) => {
  const [path, ...others] = order
  const told = ({ address, direction, carrier, state, roundTripMillis }: OpenPath) =>
    `${address} ${direction} ${carrier} ${state === "Suspect" ? "suspect " : ""}${rounded(roundTripMillis)}ms`
  return {
    endpoint: endpoint.name,
    peer: path!.peerId,
    path: path!.id,
    address: path!.address,
    direction: path!.direction,
    carrier: path!.carrier,
    rttMillis: rounded(path!.roundTripMillis),
    reason,
    ...(others.length > 0 && { refused: others.map(told).join(", ") })
  }
}

const rounded = (millis: number) => Math.round(millis * 100) / 100
