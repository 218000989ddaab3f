/** The ways to a remote peer, and which of them a new stream takes. Pure. */
import { betterCarrier, type Carrier } from "../domain/Carrier.ts"

/** Which end dialed a direct link; or that both dialed a relay. */
export type Direction = "outgoing" | "incoming" | "relay"

export interface Path {
  /** Unique within the process, and growing. */
  readonly id: number
  /** The same on all paths to a peer, for as long as it runs. */
  readonly peerId: string
  readonly direction: Direction
  /** To the other end, or to the relay. */
  readonly carrier: Carrier
  /** Where the other end is, or the relay: `host:port`. */
  readonly address: string
  /** `Suspect`: it has not answered lately; only taken when there is nothing better. */
  readonly state: "Open" | "Suspect"
  readonly roundTripMillis: number
  /** The shortest round trip that was seen: how far it is, however busy. */
  readonly distanceMillis: number
}

export interface Choice<P extends Path> {
  /** All paths, the best first. */
  readonly order: ReadonlyArray<P>
  /**
   * Why the first is the first. `bandwidth`: a local link does better over TCP; `resilience`: any other one does better
   * over QUIC.
   */
  readonly reason: "only" | "sticky" | "nearest" | "answering" | "direct" | "bandwidth" | "resilience"
}

/** A path must be this much faster than the one in use to take its place: half as long, and by more than 2 ms. */
const CLEARLY_FASTER = { factor: 0.5, millis: 2 }

/**
 * Orders the paths for a new stream: those that answer before those that are suspect, direct ones before relays, the
 * better carrier before the other one to the same peer, nearer before farther; but the one that was used last stays
 * unless another one is clearly faster, so that streams do not flap between equals.
 *
 * @param last id of the path that was used last
 */
export const choose = <P extends Path>(paths: ReadonlyArray<P>, last: number | undefined): Choice<P> | undefined => {
  const used = paths.find(({ id }) => id === last)
  const ranked = paths.map((path) => ({ path, outdone: outdone(path, paths, used) }))
  ranked.sort(
    (a, b) =>
      suspicion(a.path) - suspicion(b.path) ||
      detour(a.path) - detour(b.path) ||
      a.outdone - b.outdone ||
      a.path.roundTripMillis - b.path.roundTripMillis ||
      a.path.id - b.path.id
  )
  const order = ranked.map(({ path }) => path)
  const [first, second] = ranked
  if (first === undefined) return undefined
  if (second === undefined) return { order, reason: "only" }
  if (first.path === used && suspicion(first.path) === suspicion(second.path)) return { order, reason: "sticky" }
  // What it is better than: the path that was used, or else the next best one.
  const reason = advantage(first, ranked.find(({ path }) => path === used && path !== first.path) ?? second)
  if (reason !== "nearest" || used === undefined || isClearlyFaster(first.path, used)) return { order, reason }
  return { order: [used, ...order.filter((path) => path !== used)], reason: "sticky" }
}

const isClearlyFaster = (path: Path, used: Path): boolean =>
  path.roundTripMillis < used.roundTripMillis * CLEARLY_FASTER.factor &&
  path.roundTripMillis < used.roundTripMillis - CLEARLY_FASTER.millis

interface Ranked {
  readonly path: Path
  readonly outdone: number
}

/** What the best path has that the other one lacks. */
const advantage = (best: Ranked, other: Ranked): Choice<Path>["reason"] => {
  if (suspicion(best.path) < suspicion(other.path)) return "answering"
  if (detour(best.path) < detour(other.path)) return "direct"
  if (best.outdone === other.outdone) return "nearest"
  return best.path.carrier === "tcp" ? "bandwidth" : "resilience"
}

/** 1 for a path beside which another one to the same peer, direct or relayed as it is, answers on the better carrier. */
const outdone = (path: Path, paths: ReadonlyArray<Path>, used: Path | undefined): number => {
  const rivals = paths.filter(
    (other) => other.peerId === path.peerId && detour(other) === detour(path) && other.state === "Open"
  )
  const inUse = used !== undefined && rivals.includes(used) ? used.carrier : undefined
  const better = betterCarrier(Math.min(...rivals.map(({ distanceMillis }) => distanceMillis)), inUse)
  return path.carrier !== better && rivals.some(({ carrier }) => carrier === better) ? 1 : 0
}

const detour = ({ direction }: Path): number => (direction === "relay" ? 1 : 0)

const suspicion = ({ state }: Path): number => (state === "Open" ? 0 : 1)
