import { Schema } from "effect"

/** What carries a connection: QUIC over UDP, or TLS and HTTP/2 over TCP. */
export const Carrier = Schema.Literals(["quic", "tcp"])

export type Carrier = typeof Carrier.Type

/** Which carriers may be used: only one, or each where it does better. */
export const TransportChoice = Schema.Literals(["auto", "quic", "tcp"])

export type TransportChoice = typeof TransportChoice.Type

export const allowsCarrier = (choice: TransportChoice, carrier: Carrier): boolean =>
  choice === "auto" || choice === carrier

/** A connection with a shorter round trip is local: bandwidth counts there, and nothing is lost. */
const LOCAL_MILLIS = 5
/** What was local once is so until it is clearly not any more: connections must not flap at the border. */
const NOT_LOCAL_MILLIS = 10

/**
 * Which carrier does better where both work: TCP on a local link, where QUIC in user space is the slower one, and QUIC
 * everywhere else, where a lost packet must not hold up every stream.
 *
 * @param distanceMillis the shortest round trip seen
 * @param inUse what carries now, if anything does
 */
export const betterCarrier = (distanceMillis: number, inUse: Carrier | undefined): Carrier =>
  distanceMillis < (inUse === "tcp" ? NOT_LOCAL_MILLIS : LOCAL_MILLIS) ? "tcp" : "quic"
