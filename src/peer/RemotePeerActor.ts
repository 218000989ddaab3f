/**
 * One remote peer of one endpoint: the mailbox and fiber around `RemotePeerState`, the races it starts, and the paths
 * that are open, each with a fiber that asks for signs of life.
 *
 * A dialed connection lives in a Scope of its path, below the Scope of the actor; one that came in belongs to whoever
 * accepted it, and is given back when the actor ends.
 */
import { Cause, Deferred, Duration, Effect, Exit, FiberHandle, FiberSet, Option, Queue, Scope } from "effect"
import type { Identity } from "../certs/Identity.ts"
import type { Carrier } from "../domain/Carrier.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import type { Role } from "../domain/Role.ts"
import * as SocketAddress from "../domain/SocketAddress.ts"
import { backoff, rest } from "../internal/backoff.ts"
import { Alpn } from "../protocol/Alpn.ts"
import type { RemotePeer } from "../protocol/ClientControl.ts"
import { ErrorCode } from "../protocol/ErrorCode.ts"
import { race, raceCarriers } from "../transport/race.ts"
import { signOfLife } from "../transport/signOfLife.ts"
import type { Connection, Endpoint } from "../transport/Transport.ts"
import { Trust } from "../transport/Trust.ts"
import { inOrderOfPromise } from "./Candidates.ts"
import { answerLiveness, checkLiveness } from "./DirectLink.ts"
import { localInterfaces } from "./localCandidates.ts"
import { type OpenPath, openPath } from "./OpenPath.ts"
import type { Direction } from "./Paths.ts"
import * as State from "./RemotePeerState.ts"

export interface RemotePeerOptions {
  /** By its certificates. */
  readonly peerId: string
  /** What control calls it. */
  readonly listedAs: string
  readonly name: EndpointName
  /** Our own side. */
  readonly role: Role
  readonly endpoint: Endpoint
  /** What may be dialed with. */
  readonly carriers: ReadonlyArray<Carrier>
  readonly identity: Identity
  readonly handshakeTimeout: Duration.Duration
  /** Takes care of the streams that come in on a connection, until it ends. */
  readonly onConnection: (connection: Connection) => Effect.Effect<void>
  /** Told after every change of the paths. */
  readonly onPaths: (paths: ReadonlyArray<OpenPath>) => Effect.Effect<void>
}

export interface RemotePeerActor {
  /** What control called it first. */
  readonly listedAs: string
  readonly listed: (remote: RemotePeer) => Effect.Effect<void>
  /** `replaced`: control lists the same client with other certificates. */
  readonly unlisted: (how: { readonly replaced: boolean }) => Effect.Effect<void>
  /** Takes in a connection that the peer dialed, until it ends. */
  readonly accept: (connection: Connection) => Effect.Effect<void>
  /** Ends when nothing is left of the peer. */
  readonly ended: Effect.Effect<void>
}

const MAILBOX = 256
/** Between the candidates of one race. */
const STAGGER = Duration.millis(25)
const PROBE_EVERY = Duration.seconds(2)
const MIN_PROBE_DEADLINE_MILLIS = 1_000
/** Before a broken actor is given up, so that its successor cannot break at once as well. */
const AFTER_DEFECT = Duration.seconds(1)

/** How long a sign of life may take: four round trips, and never less than a second. */
export const probeDeadline = (roundTripMillis: number) =>
  Duration.millis(Math.max(MIN_PROBE_DEADLINE_MILLIS, 4 * roundTripMillis))

/** Starts the actor of a remote peer; it runs until the Scope ends. */
export const makeRemotePeerActor = Effect.fnUntraced(function* (options: RemotePeerOptions) {
  const { name, role, peerId, listedAs } = options
  const scope = yield* Effect.scope
  const mailbox = yield* Effect.acquireRelease(Queue.bounded<State.Message>(MAILBOX), Queue.shutdown)
  const closing = yield* Effect.acquireRelease(Deferred.make<void>(), (closing) => Deferred.succeed(closing, undefined))
  const racing = yield* FiberHandle.make()
  const fibers = yield* FiberSet.make()
  const open = new Map<number, OpenPath>()
  const ended = yield* Deferred.make<void>()
  let pause = backoff()
  let state = State.initial(role, options.carriers)

  const tell = (message: State.Message) => Effect.asVoid(Queue.offer(mailbox, message))

  /** A connection as a path, until it ends. */
  const usePath = Effect.fnUntraced(function* (connection: Connection, direction: Direction) {
    const doubted = (path: number) => tell({ _tag: "Doubted", path })
    const path = yield* openPath({ peerId, listedAs, connection, direction, doubted })
    const { id, carrier, address, roundTripMillis } = path
    const labels = { path: id, direction, carrier, address, rttMillis: rounded(roundTripMillis) }
    open.set(path.id, path)
    const why = yield* tell({ _tag: "Opened", path }).pipe(
      Effect.andThen(Effect.annotateLogs(Effect.logInfo("path.open"), labels)),
      Effect.andThen(
        Effect.raceAllFirst([
          connection.closed,
          Effect.andThen(options.onConnection(connection), connection.closed),
          watch(path)
        ])
      ),
      Effect.ensuring(
        Effect.suspend(() => {
          open.delete(path.id)
          return tell({ _tag: "Closed", path: path.id })
        })
      )
    )
    yield* Effect.logInfo("path.lost").pipe(Effect.annotateLogs({ ...labels, reason: why.message }))
  })

  /** Asks for a sign of life every two seconds. */
  const watch = Effect.fnUntraced(function* (path: OpenPath) {
    let last = path.roundTripMillis
    while (true) {
      yield* Effect.sleep(PROBE_EVERY)
      const answer = yield* signOfLife(path.connection, probeDeadline(last))
      if (Option.isSome(answer)) {
        last = answer.value ?? last
        yield* tell({ _tag: "Answered", path: path.id, roundTripMillis: last, idle: path.streams() === 0 })
      } else {
        yield* Effect.logDebug("path.silent").pipe(Effect.annotateLogs({ path: path.id, address: path.address }))
        yield* tell({ _tag: "Missed", path: path.id })
      }
    }
  })

  const dial = (remote: RemotePeer, carrier: Carrier) => (address: SocketAddress.SocketAddress) =>
    options.endpoint
      .dial({
        address,
        carrier,
        opener: role === "source" ? "dialer" : "listener",
        protocols: Alpn.direct,
        identity: options.identity,
        trust: Trust.pinned(remote.peer.serverCertificate),
        timeout: options.handshakeTimeout
      })
      .pipe(
        Effect.tap(checkLiveness),
        Effect.mapError(({ message }) => `${carrier} ${SocketAddress.format(address)}: ${message}`)
      )

  /** All candidates for a carrier, the most promising first. */
  const reach = (remote: RemotePeer) => (carrier: Carrier) =>
    race(inOrderOfPromise(State.candidates(remote, carrier), localInterfaces()).map(dial(remote, carrier)), STAGGER)

  /** Whatever happens to it, a connection that won is a path or is closed. */
  const dialAll = ({ race: number, remote, carriers }: Extract<State.Action, { _tag: "Race" }>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const pathScope = yield* Scope.fork(scope)
        const winner = yield* raceCarriers(carriers.map(reach(remote))).pipe(
          Effect.provideService(Scope.Scope, pathScope),
          Effect.tapError((failures) =>
            Effect.annotateLogs(Effect.logDebug("race.lost"), { failures: failures.join("; ") })
          ),
          restore,
          Effect.exit
        )
        if (Exit.isSuccess(winner)) {
          const path = usePath(winner.value, "outgoing").pipe(Effect.ensuring(Scope.close(pathScope, Exit.void)))
          yield* FiberSet.run(fibers, restore(path))
        } else {
          yield* Scope.close(pathScope, Exit.void)
          if (Cause.hasDies(winner.cause)) yield* Effect.logError("race.broken", winner.cause)
        }
        yield* restore(tell({ _tag: "RaceEnded", race: number, won: Exit.isSuccess(winner) }))
      })
    )

  const perform = (action: State.Action): Effect.Effect<void> => {
    switch (action._tag) {
      case "Race":
        return Effect.asVoid(FiberHandle.run(racing, dialAll(action)))
      case "Pause":
        if (action.failures === 1 && !action.background) pause = backoff()
        return Effect.asVoid(
          FiberHandle.run(
            racing,
            Effect.andThen(action.background ? rest(action.failures) : pause, tell({ _tag: "PauseEnded" }))
          )
        )
      case "ClosePath": {
        const path = open.get(action.path)
        if (path === undefined) return Effect.void
        if (action.why === "dead") return path.connection.close(ErrorCode.DirectConnectionClosed, "no sign of life")
        return path.streams() === 0
          ? path.connection.close(ErrorCode.DirectKeepaliveClosed, "another link does as well")
          : Effect.void
      }
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
          const opened = open.get(path.id)
          return opened === undefined ? [] : [{ ...opened, ...State.condition(path) }]
        })
      )
    }
    yield* Effect.forEach(actions, perform, { discard: true })
  }).pipe(
    Effect.forever,
    Effect.tapDefect((defect) =>
      Effect.logError("peer actor failed", defect).pipe(
        Effect.andThen(Effect.sleep(AFTER_DEFECT)),
        Effect.andThen(Deferred.succeed(ended, undefined))
      )
    ),
    Effect.forkScoped
  )

  const accepted = Effect.fnUntraced(function* (connection: Connection) {
    yield* answerLiveness(connection)
    yield* usePath(connection, "incoming")
  })

  return {
    listedAs,
    listed: (remote) => tell({ _tag: "Listed", remote }),
    unlisted: ({ replaced }) => tell({ _tag: "Unlisted", replaced }),
    accept: (connection) =>
      accepted(connection).pipe(
        Effect.catch((error) => Effect.logDebug("incoming link failed its check", error.message)),
        Effect.raceFirst(
          Effect.andThen(
            Deferred.await(closing),
            connection.close(ErrorCode.DirectConnectionClosed, "the endpoint is closed")
          )
        ),
        Effect.annotateLogs({ endpoint: name, role, peer: listedAs })
      ),
    ended: Deferred.await(ended)
  } satisfies RemotePeerActor
})

const rounded = (millis: number) => Math.round(millis * 100) / 100
