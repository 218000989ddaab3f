/** Which destinations a relay asks for a stream, and in which order. Pure. */
import type { EndpointName } from "../../domain/EndpointName.ts"

/** A destination that is at this relay. */
export interface DestinationLink {
  /** Unique within the process: a destination that comes back is another entry. */
  readonly key: number
  readonly endpoint: EndpointName
  /** Of the certificate it showed. */
  readonly certificateKey: string
}

export type Switchboard<L extends DestinationLink> = ReadonlyMap<EndpointName, ReadonlyArray<L>>

export const joined = <L extends DestinationLink>(board: Switchboard<L>, link: L): Switchboard<L> =>
  new Map(board).set(link.endpoint, [...(board.get(link.endpoint) ?? []), link])

/** Takes out exactly this entry; what has taken its place stays. */
export const left = <L extends DestinationLink>(board: Switchboard<L>, { endpoint, key }: L): Switchboard<L> => {
  const rest = (board.get(endpoint) ?? []).filter((other) => other.key !== key)
  const next = new Map(board)
  if (rest.length === 0) next.delete(endpoint)
  else next.set(endpoint, rest)
  return next
}

/** What is known of a destination's link at the moment. */
export interface Condition {
  /** It has not answered lately. */
  readonly silent: boolean
  /** Undefined until it was measured. */
  readonly roundTripMillis: number | undefined
}

/**
 * The destinations of an endpoint in the order to ask them: those that answer before those that do not, nearer before
 * farther, and of equals the one that came last. A link that answers has taken the place of those that the same
 * destination had before.
 *
 * @param wanted key of the certificate of the only one that may be asked
 */
export const candidates = <L extends DestinationLink>(
  links: ReadonlyArray<L>,
  wanted: string | undefined,
  condition: (link: L) => Condition
): ReadonlyArray<L> =>
  links
    .filter(({ certificateKey }) => wanted === undefined || certificateKey === wanted)
    .map((link) => ({ link, ...condition(link) }))
    .filter(
      ({ link }, _, all) =>
        !all.some(
          (other) => other.link.certificateKey === link.certificateKey && other.link.key > link.key && !other.silent
        )
    )
    .sort(
      (a, b) =>
        Number(a.silent) - Number(b.silent) ||
        (a.roundTripMillis ?? Number.MAX_VALUE) - (b.roundTripMillis ?? Number.MAX_VALUE) ||
        b.link.key - a.link.key
    )
    .map(({ link }) => link)
