/** The ways to a remote peer, and which of them a new stream takes. Pure. */

/** Which end dialed a direct link; or that both dialed a relay. */
export type Direction = "outgoing" | "incoming" | "relay"

export interface Path {
  /** Unique within the process, and growing. */
  readonly id: number
  readonly peerId: string
  readonly direction: Direction
  /** Where the other end is, or the relay: `host:port`. */
  readonly address: string
  /** `Suspect`: it has not answered lately; only taken when there is nothing better. */
  readonly state: "Open" | "Suspect"
  readonly roundTripMillis: number
}

export interface Choice<P extends Path> {
  /** All paths, the best first. */
  readonly order: ReadonlyArray<P>
  /** Why the first is the first. */
  readonly reason: "only" | "sticky" | "nearest" | "answering" | "direct"
}

/** A path must be this much faster than the one in use to take its place: half as long, and by more than 2 ms. */
const CLEARLY_FASTER = { factor: 0.5, millis: 2 }

/**
 * Orders the paths for a new stream: those that answer before those that are suspect, direct ones before relays, nearer
 * before farther; but the one that was used last stays unless another one is clearly faster, so that streams do not flap
 * between equals.
 *
 * @param last id of the path that was used last
 */
export const choose = <P extends Path>(paths: ReadonlyArray<P>, last: number | undefined): Choice<P> | undefined => {
  const order = [...paths].sort(
    (a, b) =>
      suspicion(a) - suspicion(b) || detour(a) - detour(b) || a.roundTripMillis - b.roundTripMillis || a.id - b.id
  )
  const [best] = order
  if (best === undefined) return undefined
  if (order.length === 1) return { order, reason: "only" }
  const used = order.find(({ id }) => id === last)
  if (used === undefined || used === best || suspicion(used) > suspicion(best) || detour(used) > detour(best)) {
    // What it is better than: the path that was used, or else the next best one.
    const other = used === undefined || used === best ? order[1]! : used
    return { order, reason: advantage(best, other, used === best) }
  }
  const faster =
    best.roundTripMillis < used.roundTripMillis * CLEARLY_FASTER.factor &&
    best.roundTripMillis < used.roundTripMillis - CLEARLY_FASTER.millis
  return faster
    ? { order, reason: "nearest" }
    : { order: [used, ...order.filter((path) => path !== used)], reason: "sticky" }
}

const advantage = (best: Path, other: Path, used: boolean): Choice<Path>["reason"] => {
  if (suspicion(best) < suspicion(other)) return "answering"
  if (used) return "sticky"
  return detour(best) < detour(other) ? "direct" : "nearest"
}

const detour = ({ direction }: Path): number => (direction === "relay" ? 1 : 0)

const suspicion = ({ state }: Path): number => (state === "Open" ? 0 : 1)
