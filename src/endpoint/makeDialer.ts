/**
 * From a source to a destination: who is asked first, and who next when he does not answer or refuses, is for `balance`. A
 * path that is silent is told apart from a service that is slow by asking the path itself for a sign of life.
 */
import type { Duplex } from "node:stream"
import { Clock, Duration, Effect, Exit, Option, Random, type Scope, Stream, SubscriptionRef } from "effect"
import { type Balancing, NO_BALANCING } from "../domain/Balancing.ts"
import type { Encryption } from "../domain/Encryption.ts"
import { openFor } from "../internal/openFor.ts"
import { after, raceLater } from "../internal/raceLater.ts"
import type { OpenPath } from "../peer/OpenPath.ts"
import { ConnectFailed, PeerError, PeerUnreachable } from "../peer/PeerError.ts"
import type { LocalEndpoint } from "../peer/Peers.ts"
import { announcements } from "../peer/peerKey.ts"
import { probeDeadline } from "../peer/RemotePeerActor.ts"
import { connectRequest, connectResponse, DIRECT_REQUEST, type ProxyVersion } from "../protocol/Connect.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import { receive, write } from "../protocol/MessageStream.ts"
import { signOfLife } from "../transport/signOfLife.ts"
import type { TransportStream } from "../transport/Transport.ts"
import {
  type Attempt,
  type Knowledge,
  type Memory,
  type Next,
  NO_MEMORY,
  nextStep,
  type Outcome,
  remember,
  startTurn
} from "./balance.ts"
import type { FirstBytes } from "./source/FirstBytes.ts"

export interface Connected {
  /** User bytes, both ways. Destroyed with the Scope, if it is not over by then. */
  readonly stream: Duplex
  readonly path: OpenPath
  /** The header that the destination wants before the user's first byte. */
  readonly proxy: ProxyVersion
}

/** How long reaching the service may take, from the first try to its answer. */
export const DEFAULT_DIAL_TIMEOUT = Duration.seconds(10)

/** Besides two round trips: a connection that is answered in this time costs no probe. */
const GRACE_MILLIS = 100

interface Answered {
  readonly stream: Duplex
  readonly proxy: ProxyVersion
  readonly encryption: Encryption | undefined
}

/** What became of a path that was tried, and why. */
interface Failure {
  readonly outcome: Exclude<Outcome, "Pending">
  readonly message: string
}

const silence: Failure = { outcome: "Silent", message: "it does not answer" }

/** The same path is to be asked once more. */
const OUTDATED = Effect.fail({ _tag: "Outdated" } as const)

const blocked = (message: string) => Effect.fail<Failure>({ outcome: "Blocked", message })

/**
 * Makes the dialer of one source: it remembers which paths were used last. A dial may be given the first bytes of its user,
 * to be sent before the answer where that is safe; whoever gives them takes the user back with `handOver`.
 * `request` is what it asks for on a direct link:
 * whether its streams carry requests that tell of their users themselves.
 */
export const makeDialer = (
  endpoint: LocalEndpoint,
  dialTimeout: Duration.Duration = DEFAULT_DIAL_TIMEOUT,
  balancing: Balancing = NO_BALANCING,
  request: typeof DIRECT_REQUEST = DIRECT_REQUEST
) => {
  let memory = NO_MEMORY
  const connections = new Map<string, number>()
  const announced = announcements(() => SubscriptionRef.getUnsafe(endpoint.peers))
  const known: Knowledge = {
    connections: (peer) => connections.get(peer) ?? 0,
    standing: (peer) => (announced(peer)?.serviceDown ? "Failing" : "Fine")
  }

  const count = (peer: string, change: number) => {
    const connected = known.connections(peer) + change
    if (connected > 0) connections.set(peer, connected)
    else connections.delete(peer)
  }

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

  /**
   * Whether the bytes of a user may come right behind the request: to whoever has announced that he wants no header before
   * them, and nothing but the request comes before them. Upstream's destinations announce nothing, and could be started
   * again with another setting at any time: what an earlier answer said does not hold.
   */
  const takesFirstBytes = ({ peerId, addressed }: OpenPath, encryptions: ReadonlyArray<Encryption>) =>
    addressed && encryptions.every((scheme) => scheme === "none") && announced(peerId)?.earlyData === true

  const converse = Effect.fnUntraced(function* (
    path: OpenPath,
    stream: TransportStream,
    firstBytes: FirstBytes | undefined
  ) {
    const { messages, destinationKey } = path
    // A direct link is encrypted itself.
    const offer = destinationKey === undefined ? undefined : yield* endpoint.encryption.offer(destinationKey)
    const wish =
      offer === undefined || destinationKey === undefined ? request : { ...request, ...offer.request, destinationKey }
    write(stream, connectRequest, wish, messages)
    const early = firstBytes !== undefined && takesFirstBytes(path, wish.encryptions)
    if (early) firstBytes.follow(stream)
    const answer = yield* receive(stream, connectResponse, messages)
    if (answer._tag === "Connected") {
      if (early && answer.proxy !== "none") return yield* blocked("it wants a PROXY header, and had announced none")
      return offer === undefined
        ? { stream, proxy: answer.proxy, encryption: undefined }
        : { stream: yield* offer.secure(stream, answer), proxy: answer.proxy, encryption: answer.encryption }
    }
    if (answer._tag !== "Refused") return yield* blocked("the answer is not a connect answer")
    // It may allow something else by now than it did when there was a session.
    if (answer.code === ErrorCode.DestinationRelayEncryptionError && offer?.forgotten()) return yield* OUTDATED
    const message = `${answer.message} (code ${answer.code})`
    // What a relay says may be its own: then another path to the same destination may do.
    return destinationKey === undefined || answer.code === ErrorCode.DestinationRelayEncryptionError
      ? yield* Effect.fail<Failure>({ outcome: "Refused", message })
      : yield* blocked(message)
  })

  const ask = (path: OpenPath, firstBytes: FirstBytes | undefined): Effect.Effect<Answered, Failure, Scope.Scope> =>
    openFor(path.open, (stream) => converse(path, stream, firstBytes)).pipe(
      Effect.catch((error) => {
        if ("outcome" in error) return Effect.fail(error)
        if (error._tag === "Outdated") return ask(path, firstBytes)
        // A stream that fails says something of the service only while its connection lives.
        const outcome = path.connection.ended() === undefined ? ("Blocked" as const) : ("Silent" as const)
        return Effect.fail<Failure>({ outcome, message: error.message })
      })
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

  const attempt = (path: OpenPath, tried: ReadonlyMap<number, unknown>, firstBytes: FirstBytes | undefined) =>
    raceLater(ask(path, firstBytes), after(GRACE_MILLIS + 2 * path.roundTripMillis, giveUp(path, tried)))

  /** Counts the connection of a destination from the first try until its stream is closed. */
  const counted = <A extends { readonly stream: Duplex }, E, R>(peer: string, tried: Effect.Effect<A, E, R>) => {
    if (balancing.policy !== "least-conns") return tried
    const released = () => count(peer, -1)
    return Effect.suspend(() => {
      count(peer, 1)
      return Effect.onExit(tried, (exit) =>
        Effect.sync(() => {
          if (Exit.isSuccess(exit) && !exit.value.stream.closed) exit.value.stream.once("close", released)
          else released()
        })
      )
    })
  }

  return Effect.fnUntraced(function* (firstBytes?: FirstBytes) {
    const startedAt = yield* Clock.currentTimeMillis
    const seed = balancing.policy === "random" ? yield* Random.next : 0
    const tried = new Map<number, Attempt>()
    const causes: Array<string> = []
    let dialMemory: Memory | undefined

    /** The next path, once there is one; undefined when nobody is left to ask. */
    const nextPath = Effect.gen(function* () {
      const elapsedMillis = (yield* Clock.currentTimeMillis) - startedAt
      const step = yield* firstOf((paths) => {
        const dial = { memory: dialMemory ?? startTurn(memory), seed, tried, elapsedMillis }
        const next = nextStep(balancing, dial, known, paths)
        return next._tag === "Wait" ? undefined : next
      })
      if (step._tag === "Stop") return undefined
      if (dialMemory === undefined) {
        memory = startTurn(memory)
        dialMemory = memory
      }
      return step
    })

    const search = Effect.gen(function* () {
      while (true) {
        const step = yield* nextPath
        if (step === undefined) return yield* connectFailed(endpoint, causes)
        const { path } = step
        const { id, peerId } = path
        tried.set(id, { peerId, outcome: "Pending" })
        const result = yield* Effect.result(counted(peerId, attempt(path, tried, firstBytes)))
        if (result._tag === "Success") {
          const { stream, proxy, encryption } = result.success
          // Of several destinations, each has a path that was used last.
          const used = balancing.policy === "none" ? memory.used.slice(0, 1) : memory.used
          if (!used.includes(id)) {
            yield* Effect.logInfo("path.selected").pipe(
              Effect.annotateLogs({ ...explain(endpoint, step), ...(encryption !== undefined && { encryption }) })
            )
          }
          memory = remember(memory, path, yield* SubscriptionRef.get(endpoint.paths))
          return { stream, path, proxy } satisfies Connected
        }
        const { outcome, message } = result.failure
        tried.set(id, { peerId, outcome })
        causes.push(`${path.address}: ${message}`)
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
const explain = (endpoint: LocalEndpoint, { path, others, reason }: Extract<Next<OpenPath>, { _tag: "Try" }>) => {
  const told = ({ address, direction, carrier, state, roundTripMillis }: OpenPath) =>
    `${address} ${direction} ${carrier} ${state === "Suspect" ? "suspect " : ""}${rounded(roundTripMillis)}ms`
  return {
    endpoint: endpoint.name,
    peer: path.listedAs,
    path: path.id,
    address: path.address,
    direction: path.direction,
    carrier: path.carrier,
    rttMillis: rounded(path.roundTripMillis),
    reason,
    ...(others.length > 0 && { refused: others.map(told).join(", ") })
  }
}

const rounded = (millis: number) => Math.round(millis * 100) / 100
