/**
 * Which path a dial tries next, and when it stops. Pure: what was tried and what is known go in, a decision comes out.
 *
 * A policy chooses among destinations, `choose` among the paths of each of them. They are asked in the order of the policy,
 * those that do not answer (only suspect paths) behind the others, and those known not to help last.
 *
 * - A path that is silent or in the way says nothing of the destination behind it: its next path is taken.
 * - A destination that has answered no is not asked again; `retry` says whether another one is.
 * - A destination that could not be reached at all has not refused anything, and costs no retry.
 * - Without a policy all paths are one list, as `choose` orders it; those to a destination whose service is down come last.
 */
import type { BalancePolicy, Balancing, Retry } from "../domain/Balancing.ts"
import { type Choice, choose, type Path } from "../peer/Paths.ts"

/**
 * What became of a path that was tried. `Pending`: nothing yet. `Silent`: nothing came back. `Blocked`: what stands between
 * (a relay, the connection) refused. `Refused`: the destination itself did.
 */
export type Outcome = "Pending" | "Silent" | "Blocked" | "Refused"

/** A path that was tried, and whose it was. */
export interface Attempt {
  readonly peerId: string
  readonly outcome: Outcome
}

/** What a source remembers from dial to dial. */
export interface Memory {
  /** Dials that found a path; what `round-robin` counts. */
  readonly turn: number
  /** The paths that were used last, the latest first, one for each destination. */
  readonly used: ReadonlyArray<number>
}

export const NO_MEMORY: Memory = { turn: 0, used: [] }

/** Where a dial stands. */
export interface Dial {
  readonly memory: Memory
  /** Drawn for this dial, 0 to below 1; what `random` shuffles by. */
  readonly seed: number
  /** By path, in the order in which they were tried. */
  readonly tried: ReadonlyMap<number, Attempt>
  readonly elapsedMillis: number
}

/** What is known of destinations, besides their paths. */
export interface Knowledge {
  /** Connections of this source to it that are open, or on their way. */
  readonly connections: (peerId: string) => number
  /** `Unlisted`: control does not know it any more. `Failing`: it says that its service refuses. */
  readonly standing: (peerId: string) => "Fine" | "Unlisted" | "Failing"
}

/** `Wait`: for a path that opens. `Stop`: nobody is left that may be asked. */
export type Next<P extends Path> =
  | {
      readonly _tag: "Try"
      readonly path: P
      /** What else there was, the best first. */
      readonly others: ReadonlyArray<P>
      readonly reason: Choice<P>["reason"] | BalancePolicy
    }
  | { readonly _tag: "Wait" }
  | { readonly _tag: "Stop" }

/** The next step of a dial over the paths as they are. */
export const nextStep = <P extends Path>(
  balancing: Balancing,
  dial: Dial,
  known: Knowledge,
  paths: ReadonlyArray<P>
): Next<P> => {
  const { policy, retry } = balancing
  const attempts = [...dial.tried.values()]
  const answered = new Set(attempts.filter(isAnswer).map(({ peerId }) => peerId))
  const untried = paths.filter(({ id }) => !dial.tried.has(id))
  /** Silence may have been a moment's: such a path is taken again once it answers. */
  const again = paths.filter(({ id, state }) => state === "Open" && dial.tried.get(id)?.outcome === "Silent")

  if (policy === "none") {
    if (untried.length === 0 && answered.size > 0) return { _tag: "Stop" }
    return take(choose(bestStanding([...untried, ...again], known), dial.memory.used[0]))
  }
  const refusing = new Set(attempts.filter(({ outcome }) => outcome === "Refused").map(({ peerId }) => peerId))
  const open = untried.filter(({ peerId }) => !refusing.has(peerId))
  const current = attempts.at(-1)?.peerId
  const ownOthers = open.filter(({ peerId, state }) => peerId === current && state === "Open")
  if (ownOthers.length > 0) return take(choose(ownOthers, lastOf(dial.memory, ownOthers)))

  if (answered.size > 0 && !permits(retry, answered.size, dial.elapsedMillis)) return { _tag: "Stop" }
  const order = orderPeers(policy, dial, known, paths)
  const fresh = bestOfEach(order, open, dial.memory)
  if (fresh.length > 0) return taken(fresh, order.length > 1 ? policy : undefined)
  if (answered.size > 0) return { _tag: "Stop" }
  return taken(bestOfEach(order, again, dial.memory), order.length > 1 ? policy : undefined)
}

/** What is remembered once a dial has found a path to try. */
export const startTurn = (memory: Memory): Memory => ({ ...memory, turn: memory.turn + 1 })

/** What is remembered of a path that was used; paths that are gone are forgotten. */
export const remember = (memory: Memory, path: Path, paths: ReadonlyArray<Path>): Memory => {
  const others = new Set(paths.filter(({ peerId }) => peerId !== path.peerId).map(({ id }) => id))
  return { ...memory, used: [path.id, ...memory.used.filter((id) => others.has(id))] }
}

const isAnswer = ({ outcome }: Attempt): boolean => outcome === "Blocked" || outcome === "Refused"

/** Whether one more destination may be asked after so many have answered no. */
const permits = (retry: Retry, answered: number, elapsedMillis: number): boolean => {
  switch (retry._tag) {
    case "Never":
      return false
    case "Count":
      return answered < retry.destinations
    case "Timed":
      return elapsedMillis < retry.millis
    case "All":
      return true
  }
}

const take = <P extends Path>(choice: Choice<P> | undefined): Next<P> => {
  if (choice === undefined) return { _tag: "Wait" }
  const [path, ...others] = choice.order
  return { _tag: "Try", path: path!, others, reason: choice.reason }
}

const taken = <P extends Path>(choices: ReadonlyArray<Choice<P>>, policy: BalancePolicy | undefined): Next<P> => {
  const [first] = choices
  if (first === undefined) return { _tag: "Wait" }
  const [path, ...others] = choices.flatMap(({ order }) => order)
  return { _tag: "Try", path: path!, others, reason: policy ?? first.reason }
}

const lastOf = ({ used }: Memory, paths: ReadonlyArray<Path>): number | undefined =>
  used.find((last) => paths.some(({ id }) => id === last))

/** For each destination in this order the choice among these paths, if it has any of them. */
const bestOfEach = <P extends Path>(order: ReadonlyArray<string>, paths: ReadonlyArray<P>, memory: Memory) =>
  order.flatMap((peer) => {
    const own = paths.filter(({ peerId }) => peerId === peer)
    return choose(own, lastOf(memory, own)) ?? []
  })

/** All destinations in the order in which they are asked. */
const orderPeers = (
  policy: BalancePolicy,
  dial: Dial,
  known: Knowledge,
  paths: ReadonlyArray<Path>
): ReadonlyArray<string> => {
  // The best path of each, as if none had been tried: the order stays what it was when the dial began.
  const bests = bestOfEach([...new Set(paths.map(({ peerId }) => peerId))], paths, dial.memory).map(
    ({ order }) => order[0]!
  )
  const nearest = choose(bests, undefined)?.order ?? []
  const groups = Map.groupBy(nearest, (path) => rank(path, known))
  return [...groups]
    .sort(([a], [b]) => a - b)
    .flatMap(([, group]) =>
      ORDERS[policy](
        group.map(({ peerId }) => peerId),
        dial,
        known
      )
    )
}

/** 0: to be asked first. */
const rank = ({ peerId, state }: Path, known: Knowledge): number =>
  STANDINGS.indexOf(known.standing(peerId)) * 2 + (state === "Open" ? 0 : 1)

/** The paths to whoever stands best. */
const bestStanding = <P extends Path>(paths: ReadonlyArray<P>, known: Knowledge): ReadonlyArray<P> => {
  const standings = paths.map(({ peerId }) => STANDINGS.indexOf(known.standing(peerId)))
  const best = Math.min(...standings)
  return paths.filter((_, at) => standings[at] === best)
}

const STANDINGS = ["Fine", "Unlisted", "Failing"]

type Order = (nearestFirst: ReadonlyArray<string>, dial: Dial, known: Knowledge) => ReadonlyArray<string>

const byLatency: Order = (peers) => peers

/** Of equals the nearest: sorting is stable. */
const byConnections: Order = (peers, _dial, { connections }) => {
  const counts = new Map(peers.map((peer) => [peer, connections(peer)]))
  return peers.toSorted((a, b) => counts.get(a)! - counts.get(b)!)
}

const byTurn: Order = (peers, { memory }) => {
  const sorted = peers.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const start = memory.turn % sorted.length
  return [...sorted.slice(start), ...sorted.slice(0, start)]
}

const byChance: Order = (peers, { seed }) => {
  const draws = new Map(peers.map((peer) => [peer, draw(peer, seed)]))
  return peers.toSorted((a, b) => draws.get(a)! - draws.get(b)!)
}

const ORDERS: Readonly<Record<BalancePolicy, Order>> = {
  none: byLatency,
  "least-latency": byLatency,
  "least-conns": byConnections,
  "round-robin": byTurn,
  random: byChance
}

/** A number that only this destination has in this dial, so that who comes and goes meanwhile moves nobody (FNV-1a, mixed). */
const draw = (peer: string, seed: number): number => {
  let hash = Math.floor(seed * 2 ** 32) | 0
  for (const byte of Buffer.from(peer)) hash = Math.imul(hash ^ byte, 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
