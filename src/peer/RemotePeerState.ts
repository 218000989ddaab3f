/**
 * What is known of one remote peer of one endpoint, and what to do about it. Pure: the actor that runs it only receives
 * messages and performs actions.
 *
 * - Dial whenever there is no path that answers, unless a race is running; a new address or a new certificate starts the
 *   race anew at once, a failed race is repeated after a growing pause.
 * - A path that misses a probe is suspect, and open again with the next answer; after three misses it is closed.
 * - That control forgets the peer ends the dialing, not the paths; without paths nothing is left of the peer.
 */
import type { RemotePeer } from "../protocol/ClientControl.ts"
import type { Path } from "./Paths.ts"

export interface TrackedPath extends Path {
  readonly missed: number
}

export interface RemotePeerState {
  /** Undefined once control does not list the peer any more. */
  readonly remote: RemotePeer | undefined
  readonly paths: ReadonlyArray<TrackedPath>
  /** Which race is running; undefined when none is. */
  readonly race: number | undefined
  readonly races: number
  /** Races that have failed in a row. */
  readonly failures: number
}

export type Message =
  | { readonly _tag: "Listed"; readonly remote: RemotePeer }
  | { readonly _tag: "Unlisted" }
  | { readonly _tag: "Opened"; readonly path: Path }
  | { readonly _tag: "Answered"; readonly path: number; readonly roundTripMillis: number }
  | { readonly _tag: "Missed"; readonly path: number }
  | { readonly _tag: "Closed"; readonly path: number }
  | { readonly _tag: "RaceEnded"; readonly race: number; readonly won: boolean }
  | { readonly _tag: "PauseEnded" }

export type Action =
  /** Dial all candidates of `remote`; takes the place of a race that is running. */
  | { readonly _tag: "Race"; readonly race: number; readonly remote: RemotePeer }
  /** Send `PauseEnded` after a pause for this many failures. */
  | { readonly _tag: "Pause"; readonly failures: number }
  | { readonly _tag: "ClosePath"; readonly path: number }
  /** Nothing is left: the actor ends. */
  | { readonly _tag: "End" }

export const initial: RemotePeerState = { remote: undefined, paths: [], race: undefined, races: 0, failures: 0 }

const MISSES_UNTIL_CLOSED = 3

export const step = (
  state: RemotePeerState,
  message: Message
): readonly [state: RemotePeerState, actions: ReadonlyArray<Action>] => {
  switch (message._tag) {
    case "Listed": {
      const { remote } = message
      const before = state.remote
      const renewed = before !== undefined && !sameCertificates(before, remote)
      const listed = { ...state, remote, ...(renewed && { paths: state.paths.map(suspected) }) }
      const moved = before === undefined || renewed || !sameDirects(before, remote)
      return moved && !answers(listed) ? startRace({ ...listed, failures: 0 }) : [listed, []]
    }
    case "Unlisted":
      return endWhenEmpty({ ...state, remote: undefined }, [])
    case "Opened":
      return [{ ...state, paths: [...state.paths, { ...message.path, missed: 0 }], failures: 0 }, []]
    case "Answered":
      return [
        updatePath(state, message.path, (path) => ({
          ...path,
          state: "Open",
          missed: 0,
          roundTripMillis: smoothed(path.roundTripMillis, message.roundTripMillis)
        })),
        []
      ]
    case "Missed": {
      const missed = updatePath(state, message.path, (path) => ({ ...suspected(path), missed: path.missed + 1 }))
      const path = missed.paths.find(({ id }) => id === message.path)
      const close: ReadonlyArray<Action> =
        path !== undefined && path.missed >= MISSES_UNTIL_CLOSED ? [{ _tag: "ClosePath", path: path.id }] : []
      return dialWhenSilent(missed, close)
    }
    case "Closed": {
      const paths = state.paths.filter(({ id }) => id !== message.path)
      const [next, actions] = dialWhenSilent({ ...state, paths }, [])
      return endWhenEmpty(next, actions)
    }
    case "RaceEnded": {
      if (message.race !== state.race) return [state, []]
      const ended = { ...state, race: undefined }
      if (message.won || answers(ended)) return [ended, []]
      const failures = state.failures + 1
      return [{ ...ended, failures }, [{ _tag: "Pause", failures }]]
    }
    case "PauseEnded":
      return dialWhenSilent(state, [])
  }
}

const startRace = (state: RemotePeerState): readonly [RemotePeerState, ReadonlyArray<Action>] => {
  const { remote } = state
  if (remote === undefined || remote.peer.directs.length === 0) return [{ ...state, race: undefined }, []]
  const race = state.races + 1
  return [{ ...state, race, races: race }, [{ _tag: "Race", race, remote }]]
}

const dialWhenSilent = (
  state: RemotePeerState,
  actions: ReadonlyArray<Action>
): readonly [RemotePeerState, ReadonlyArray<Action>] => {
  if (answers(state) || state.race !== undefined) return [state, actions]
  const [next, more] = startRace(state)
  return [next, [...actions, ...more]]
}

const endWhenEmpty = (
  state: RemotePeerState,
  actions: ReadonlyArray<Action>
): readonly [RemotePeerState, ReadonlyArray<Action>] =>
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

const sameCertificates = (a: RemotePeer, b: RemotePeer): boolean =>
  Buffer.from(a.peer.serverCertificate).equals(b.peer.serverCertificate) &&
  Buffer.from(a.peer.clientCertificate).equals(b.peer.clientCertificate)

const sameDirects = (a: RemotePeer, b: RemotePeer): boolean =>
  JSON.stringify(a.peer.directs) === JSON.stringify(b.peer.directs)
