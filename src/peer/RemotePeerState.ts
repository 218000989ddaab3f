/**
 * What is known of one remote peer of one endpoint, and what to do about it. Pure: the actor that runs it only receives
 * messages and performs actions.
 *
 * A peer is its certificates: with others it is another peer, with a state of its own.
 *
 * - Dial whenever there is no path that answers, unless a race is running; a new address starts the race anew at once.
 *   After a race that failed, or whose path ended before it had answered once, there is a growing pause.
 * - While a path answers, dial in the background, with longer pauses, what would do better: QUIC beside TCP, which was
 *   the only way through at first, and TCP on a local link. The source begins, so that both do not at once.
 * - A path that misses a probe, or whose user heard nothing, is suspect, and open again with the next answer.
 * - After three misses it is closed if another path answers: the network is there, so the path is dead. When nothing
 *   answers, the network may be away for a moment, and the transport's idle timeout decides.
 * - When the same client is listed with other certificates, its old paths are suspect until they answer again: it may
 *   have been restarted.
 * - Both sides dial, so there may be a path and a spare of each carrier. More of one direction (after a suspicion that
 *   was wrong) are closed by the source, which knows that they carry nothing; by one side only, so that none is left by
 *   mistake.
 * - That control forgets the peer ends the dialing, not the paths; without paths nothing is left of the peer.
 */
import { betterCarrier, type Carrier } from "../domain/Carrier.ts"
import type { Role } from "../domain/Role.ts"
import type { RemotePeer } from "../protocol/ClientControl.ts"
import type { Path } from "./Paths.ts"

export interface TrackedPath extends Path {
  /** Probes in a row without an answer. */
  readonly missed: number
  /** It has answered at least once since it was opened. */
  readonly proven: boolean
  /** It carried no stream of ours at its last answer. */
  readonly idle: boolean
}

export interface RemotePeerState {
  /** Our own side of the endpoint. */
  readonly role: Role
  /** What we may dial with. */
  readonly carriers: ReadonlyArray<Carrier>
  /** Undefined once control does not list the peer any more. */
  readonly remote: RemotePeer | undefined
  readonly paths: ReadonlyArray<TrackedPath>
  /** Which race is running; undefined when none is. */
  readonly race: number | undefined
  /** The race that is running is one in the background, or the pause before one is running. */
  readonly background: "race" | "pause" | undefined
  readonly races: number
  /** Races in a row that came to nothing. */
  readonly failures: number
  /** Races in the background since nothing was wanted. */
  readonly attempts: number
}

export type Message =
  | { readonly _tag: "Listed"; readonly remote: RemotePeer }
  /** Control does not list the peer any more; `replaced`: it lists the same client with other certificates. */
  | { readonly _tag: "Unlisted"; readonly replaced: boolean }
  | { readonly _tag: "Opened"; readonly path: Path }
  /** A probe was answered; `idle`: the path carries no stream that we opened. */
  | { readonly _tag: "Answered"; readonly path: number; readonly roundTripMillis: number; readonly idle: boolean }
  /** A probe of the path itself was not answered. */
  | { readonly _tag: "Missed"; readonly path: number }
  /** Somebody who used the path heard nothing. */
  | { readonly _tag: "Doubted"; readonly path: number }
  | { readonly _tag: "Closed"; readonly path: number }
  | { readonly _tag: "RaceEnded"; readonly race: number; readonly won: boolean }
  | { readonly _tag: "PauseEnded" }

export type Action =
  /** Dial all candidates of `remote` for these carriers; takes the place of a race or pause that is running. */
  | {
      readonly _tag: "Race"
      readonly race: number
      readonly remote: RemotePeer
      readonly carriers: ReadonlyArray<Carrier>
    }
  /** Send `PauseEnded` after a pause for this many failures; takes the place of a race or pause that is running. */
  | { readonly _tag: "Pause"; readonly failures: number; readonly background: boolean }
  | { readonly _tag: "ClosePath"; readonly path: number; readonly why: "dead" | "surplus" }
  /** Nothing is left: the actor ends. */
  | { readonly _tag: "End" }

export const initial = (role: Role, carriers: ReadonlyArray<Carrier>): RemotePeerState => ({
  role,
  carriers,
  remote: undefined,
  paths: [],
  race: undefined,
  background: undefined,
  races: 0,
  failures: 0,
  attempts: 0
})

const MISSES_UNTIL_DEAD = 3

/** With so many that do not answer, another one would not either: one of them has to answer or end first. */
const MAX_PATHS = 8

type Step = readonly [state: RemotePeerState, actions: ReadonlyArray<Action>]

export const step = (state: RemotePeerState, message: Message): Step => tend(react(state, message))

const react = (state: RemotePeerState, message: Message): Step => {
  switch (message._tag) {
    case "Listed": {
      const { remote } = message
      const before = state.remote
      const moved = before === undefined || !sameDirects(before, remote)
      const listed = { ...state, remote, attempts: moved ? 0 : state.attempts }
      return moved && !answers(listed) ? startRace({ ...listed, failures: 0 }) : [listed, []]
    }
    case "Unlisted":
      return endWhenEmpty(
        { ...state, remote: undefined, paths: message.replaced ? state.paths.map(suspected) : state.paths },
        []
      )
    case "Opened":
      return [{ ...state, paths: [...state.paths, { ...message.path, missed: 0, proven: false, idle: false }] }, []]
    case "Answered": {
      const next = updatePath(state, message.path, (path) => ({
        ...path,
        state: "Open",
        missed: 0,
        proven: true,
        idle: message.idle,
        roundTripMillis: smoothed(path.roundTripMillis, message.roundTripMillis),
        distanceMillis: Math.min(path.distanceMillis, message.roundTripMillis)
      }))
      const path = next.paths.find(({ id }) => id === message.path)
      if (path === undefined) return [state, []]
      const close: ReadonlyArray<Action> = isSurplus(next, path)
        ? [{ _tag: "ClosePath", path: path.id, why: "surplus" }]
        : []
      return [{ ...next, failures: 0 }, close]
    }
    case "Missed": {
      const missed = updatePath(state, message.path, (path) => ({ ...suspected(path), missed: path.missed + 1 }))
      return dialWhenSilent(missed, closeDead(missed))
    }
    case "Doubted":
      return dialWhenSilent(updatePath(state, message.path, suspected), [])
    case "Closed": {
      const closed = state.paths.find(({ id }) => id === message.path)
      if (closed === undefined) return [state, []]
      const next = { ...state, paths: state.paths.filter((path) => path !== closed) }
      if (next.remote === undefined) return endWhenEmpty(next, [])
      if (closed.proven || answers(next) || next.race !== undefined) return dialWhenSilent(next, [])
      return pause(next)
    }
    case "RaceEnded": {
      if (message.race !== state.race) return [state, []]
      const ended = { ...state, race: undefined, background: undefined }
      if (message.won || answers(ended)) return [ended, []]
      return pause(ended)
    }
    case "PauseEnded":
      if (state.background === "pause" && answers(state)) {
        const rested = { ...state, background: undefined }
        const missing = wanted(rested)
        return missing.length === 0 ? [{ ...rested, attempts: 0 }, []] : startRace(rested, missing)
      }
      return dialWhenSilent(state, [])
  }
}

/** Begins what is of use while a path answers: at first at the source, and after a growing pause when it came to nothing. */
const tend = ([state, actions]: Step): Step => {
  const busy = state.race !== undefined || state.background !== undefined || state.paths.length >= MAX_PATHS
  if (busy || !answers(state)) return [state, actions]
  const missing = wanted(state)
  if (missing.length === 0) return [state, actions]
  if (state.attempts === 0 && state.role === "source") {
    const [racing, race] = startRace(state, missing)
    return [racing, [...actions, ...race]]
  }
  const rest: Action = { _tag: "Pause", failures: Math.max(1, state.attempts), background: true }
  return [{ ...state, background: "pause" }, [...actions, rest]]
}

/** What changes in a path while it is open. */
export const condition = ({ state, roundTripMillis, distanceMillis }: TrackedPath) => ({
  state,
  roundTripMillis,
  distanceMillis
})

/** Where to dial a peer with a carrier. */
export const candidates = ({ peer }: RemotePeer, carrier: Carrier) =>
  carrier === "quic" ? peer.directs : (peer.tcpDirects ?? [])

/** What both ends can dial with. */
const possible = ({ carriers, remote }: RemotePeerState): ReadonlyArray<Carrier> =>
  remote === undefined ? [] : carriers.filter((carrier) => candidates(remote, carrier).length > 0)

/** What to dial while a path answers. */
const wanted = (state: RemotePeerState): ReadonlyArray<Carrier> => {
  const open = state.paths.filter((path) => path.state === "Open")
  const distance = Math.min(...open.map(({ distanceMillis }) => distanceMillis))
  return possible(state).filter(
    (carrier) =>
      !open.some((path) => path.carrier === carrier) &&
      (carrier === "quic" || betterCarrier(distance, undefined) === carrier)
  )
}

/** Dials in the background if carriers are named, else with all that can be. */
const startRace = (state: RemotePeerState, missing?: ReadonlyArray<Carrier>): Step => {
  const { remote } = state
  const carriers = missing ?? possible(state)
  if (remote === undefined || carriers.length === 0) return [{ ...state, race: undefined, background: undefined }, []]
  const race = state.races + 1
  const background = missing === undefined ? undefined : ("race" as const)
  const attempts = missing === undefined ? state.attempts : state.attempts + 1
  return [{ ...state, race, background, attempts, races: race }, [{ _tag: "Race", race, remote, carriers }]]
}

const dialWhenSilent = (state: RemotePeerState, actions: ReadonlyArray<Action>): Step => {
  const racing = state.race !== undefined && state.background === undefined
  if (answers(state) || racing || state.paths.length >= MAX_PATHS) return [state, actions]
  const [next, more] = startRace(state)
  return [next, [...actions, ...more]]
}

const pause = (state: RemotePeerState): Step => {
  const failures = state.failures + 1
  return [{ ...state, failures, background: undefined }, [{ _tag: "Pause", failures, background: false }]]
}

const closeDead = (state: RemotePeerState): ReadonlyArray<Action> =>
  answers(state)
    ? state.paths
        .filter(({ missed }) => missed >= MISSES_UNTIL_DEAD)
        .map(({ id }) => ({ _tag: "ClosePath", path: id, why: "dead" }))
    : []

/** Another path of the same direction and carrier does as well, and this one carries nothing. */
const isSurplus = ({ role, paths }: RemotePeerState, path: TrackedPath): boolean =>
  role === "source" &&
  path.idle &&
  paths.some(
    (other) =>
      other !== path &&
      other.direction === path.direction &&
      other.carrier === path.carrier &&
      other.state === "Open" &&
      (other.id < path.id || (other.proven && !other.idle))
  )

const endWhenEmpty = (state: RemotePeerState, actions: ReadonlyArray<Action>): Step =>
  state.remote === undefined && state.paths.length === 0 ? [state, [...actions, { _tag: "End" }]] : [state, actions]

const answers = ({ paths }: RemotePeerState): boolean => paths.some(({ state }) => state === "Open")

const updatePath = (
  state: RemotePeerState,
  id: number,
  update: (path: TrackedPath) => TrackedPath
): RemotePeerState => ({ ...state, paths: state.paths.map((path) => (path.id === id ? update(path) : path)) })

const suspected = (path: TrackedPath): TrackedPath => ({ ...path, state: "Suspect" })

/** Like TCP's estimate (RFC 6298 §2): an eighth of each new sample. */
const smoothed = (before: number, sample: number): number => before + (sample - before) / 8

const sameDirects = (a: RemotePeer, b: RemotePeer): boolean =>
  JSON.stringify([a.peer.directs, a.peer.tcpDirects]) === JSON.stringify([b.peer.directs, b.peer.tcpDirects])
