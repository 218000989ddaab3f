/**
 * One remote peer of one endpoint: the mailbox and fiber around `RemotePeerState`, the races it starts, and the paths
 * that are open, each with a fiber that asks for signs of life.
 *
 * A path's fibers and its connection live in a Scope of the path, below the Scope of the actor.
 */
import { Deferred, Duration, Effect, Exit, FiberHandle, FiberSet, Option, Queue, Scope } from "effect"
import type { Identity } from "../certs/Identity.ts"
import * as SocketAddress from "../domain/SocketAddress.ts"
import { backoff } from "../internal/backoff.ts"
import { Alpn, frameWidth } from "../protocol/Alpn.ts"
import type { RemotePeer } from "../protocol/ClientControl.ts"
import { connectRequest, connectResponse } from "../protocol/Connect.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../protocol/Frame.ts"
import { type MessageOptions, receiveWithin, send } from "../protocol/MessageStream.ts"
import { race } from "../transport/race.ts"
import type { Connection, Endpoint } from "../transport/Transport.ts"
import { Trust } from "../transport/Trust.ts"
import { inOrderOfPromise } from "./Candidates.ts"
import { localInterfaces } from "./localCandidates.ts"
import type { Direction, Path } from "./Paths.ts"
import * as State from "./RemotePeerState.ts"

/** A path with the connection it stands for. */
export interface OpenPath extends Path {
  readonly connection: Connection
}

export interface RemotePeerOptions {
  readonly peerId: string
  readonly endpoint: Endpoint
  readonly identity: Identity
  readonly handshakeTimeout: Duration.Duration
  /** Takes care of the streams that come in on a connection, until it ends. */
  readonly onConnection: (connection: Connection) => Effect.Effect<void>
  /** Told after every change of the paths. */
  readonly onPaths: (paths: ReadonlyArray<OpenPath>) => Effect.Effect<void>
}

export interface RemotePeerActor {
  readonly listed: (remote: RemotePeer) => Effect.Effect<void>
  readonly unlisted: Effect.Effect<void>
  /** Takes in a connection that the peer dialed, until it ends. */
  readonly accept: (connection: Connection) => Effect.Effect<void>
  /** Says that a path has not answered somebody who used it. */
  readonly missed: (path: number) => Effect.Effect<void>
  /** Ends when nothing is left of the peer. */
  readonly ended: Effect.Effect<void>
}

const MAILBOX = 256
/** Between the candidates of one race. */
const STAGGER = Duration.millis(25)
const CHECK_DEADLINE = Duration.seconds(5)
const PROBE_EVERY = Duration.seconds(2)
const MIN_PROBE_DEADLINE_MILLIS = 1_000

let nextPathId = 0

export const messageOptions = (connection: Connection): MessageOptions => ({
  width: frameWidth("direct", connection.protocol),
  limit: MAX_STRANGER_MESSAGE_BYTES
})

/** How long a sign of life may take: four round trips, and never less than a second. */
export const probeDeadline = (roundTripMillis: number) =>
  Duration.millis(Math.max(MIN_PROBE_DEADLINE_MILLIS, 4 * roundTripMillis))

export const makeRemotePeerActor = Effect.fnUntraced(function* (options: RemotePeerOptions) {
  const scope = yield* Effect.scope
  const mailbox = yield* Effect.acquireRelease(Queue.bounded<State.Message>(MAILBOX), Queue.shutdown)
  const racing = yield* FiberHandle.make()
  const fibers = yield* FiberSet.make()
  const connections = new Map<number, Connection>()
  const ended = yield* Deferred.make<void>()
  let pause = backoff()
  let state = State.initial

  const tell = (message: State.Message) => Effect.asVoid(Queue.offer(mailbox, message))

  /** A connection as a path, until it ends. */
  const usePath = Effect.fnUntraced(function* (connection: Connection, direction: Direction) {
    const id = nextPathId++
    const began = yield* connection.probe.pipe(
      Effect.timeoutOption(Duration.seconds(2)),
      Effect.orElseSucceed(() => Option.none<number>())
    )
    const roundTripMillis = Option.getOrElse(began, () => 2_000)
    const address = SocketAddress.format(connection.remoteAddress())
    const labels = { path: id, direction, address, rttMillis: Math.round(roundTripMillis * 100) / 100 }
    connections.set(id, connection)
    yield* tell({
      _tag: "Opened",
      path: { id, peerId: options.peerId, direction, address, state: "Open", roundTripMillis }
    })
    yield* Effect.logInfo("path.open").pipe(Effect.annotateLogs(labels))
    const why = yield* Effect.raceAllFirst([
      connection.closed,
      Effect.andThen(options.onConnection(connection), connection.closed),
      watch(connection, id, roundTripMillis)
    ]).pipe(
      Effect.ensuring(
        Effect.suspend(() => {
          connections.delete(id)
          return tell({ _tag: "Closed", path: id })
        })
      )
    )
    yield* Effect.logInfo("path.lost").pipe(Effect.annotateLogs({ ...labels, reason: why.message }))
  })

  /** Asks for a sign of life every two seconds. */
  const watch = Effect.fnUntraced(function* (connection: Connection, path: number, roundTripMillis: number) {
    let last = roundTripMillis
    while (true) {
      yield* Effect.sleep(PROBE_EVERY)
      const answer = yield* connection.probe.pipe(
        Effect.timeoutOption(probeDeadline(last)),
        Effect.orElseSucceed(() => Option.none<number>())
      )
      if (Option.isSome(answer)) {
        last = answer.value
        yield* tell({ _tag: "Answered", path, roundTripMillis: answer.value })
      } else {
        yield* tell({ _tag: "Missed", path })
      }
    }
  })

  const dialAll = Effect.fnUntraced(function* ({ race: number, remote }: { race: number; remote: RemotePeer }) {
    const pathScope = yield* Scope.fork(scope)
    const candidates = inOrderOfPromise(remote.peer.directs, localInterfaces())
    const dials = candidates.map((address) =>
      Effect.flatMap(
        options.endpoint.dial({
          address,
          protocols: Alpn.direct,
          identity: options.identity,
          trust: Trust.pinned(remote.peer.serverCertificate),
          timeout: options.handshakeTimeout
        }),
        (connection) => Effect.as(checkLiveness(connection), connection)
      )
    )
    const winner = yield* race(dials, STAGGER).pipe(
      Effect.provideService(Scope.Scope, pathScope),
      Effect.tapError((errors) =>
        Effect.logDebug("race.lost").pipe(
          Effect.annotateLogs(
            Object.fromEntries(errors.map((error, at) => [SocketAddress.format(candidates[at]!), error.message]))
          )
        )
      ),
      Effect.exit
    )
    if (Exit.isFailure(winner)) {
      yield* Scope.close(pathScope, Exit.void)
      yield* tell({ _tag: "RaceEnded", race: number, won: false })
      return
    }
    yield* FiberSet.run(
      fibers,
      usePath(winner.value, "outgoing").pipe(Effect.ensuring(Scope.close(pathScope, Exit.void)))
    )
    yield* tell({ _tag: "RaceEnded", race: number, won: true })
  })

  const perform = (action: State.Action): Effect.Effect<void> => {
    switch (action._tag) {
      case "Race":
        return Effect.asVoid(FiberHandle.run(racing, dialAll(action)))
      case "Pause":
        if (action.failures === 1) pause = backoff()
        return Effect.asVoid(FiberHandle.run(racing, Effect.andThen(pause, tell({ _tag: "PauseEnded" }))))
      case "ClosePath":
        return (
          connections.get(action.path)?.close(ErrorCode.DirectKeepaliveClosed, "no answer to keep-alives") ??
          Effect.void
        )
      case "End":
        return Effect.asVoid(Deferred.succeed(ended, undefined))
    }
  }

  yield* Effect.gen(function* () {
    const message = yield* Queue.take(mailbox)
    const [next, actions] = State.step(state, message)
    const before = state.paths
    state = next
    if (next.paths !== before) {
      yield* options.onPaths(
        next.paths.flatMap((path) => {
          const connection = connections.get(path.id)
          return connection === undefined ? [] : [{ ...path, connection }]
        })
      )
    }
    yield* Effect.forEach(actions, perform, { discard: true })
  }).pipe(
    Effect.forever,
    Effect.tapCause((cause) => Effect.logDebug("peer actor ended", cause)),
    Effect.forkScoped
  )

  return {
    listed: (remote) => tell({ _tag: "Listed", remote }),
    unlisted: tell({ _tag: "Unlisted" }),
    accept: (connection) =>
      answerLiveness(connection).pipe(
        Effect.andThen(usePath(connection, "incoming")),
        Effect.catch((error) => Effect.logDebug("incoming connection failed its check", error))
      ),
    missed: (path) => tell({ _tag: "Missed", path }),
    ended: Deferred.await(ended)
  } satisfies RemotePeerActor
})

/** The dialing end's half of the hello of a direct link: an empty request must be answered by an empty response. */
const checkLiveness = Effect.fnUntraced(function* (connection: Connection) {
  const messages = messageOptions(connection)
  const stream = yield* connection.open
  yield* send(stream, connectRequest, { _tag: "Check" }, messages)
  const answer = yield* receiveWithin(stream, connectResponse, messages, CHECK_DEADLINE)
  stream.end().resume()
  if (answer._tag === "Checked") return
  yield* connection.close(ErrorCode.ConnectionCheckFailed, "the liveness check was not answered")
  return yield* Effect.fail({ message: "the liveness check failed" })
})

/** The listening end's half. */
const answerLiveness = Effect.fnUntraced(function* (connection: Connection) {
  const messages = messageOptions(connection)
  const stream = yield* connection.accept.pipe(Effect.timeout(CHECK_DEADLINE))
  const request = yield* receiveWithin(stream, connectRequest, messages, CHECK_DEADLINE)
  if (request._tag !== "Check") {
    yield* connection.close(ErrorCode.ConnectionCheckFailed, "a liveness check was expected first")
    return yield* Effect.fail({ message: "a liveness check was expected first" })
  }
  yield* send(stream, connectResponse, { _tag: "Checked" }, messages)
  stream.end().resume()
})
