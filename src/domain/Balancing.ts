/** How a source spreads its users over several destinations of one name, and how often it tries when one refuses. */
import { Schema } from "effect"

/**
 * Whom a new user goes to. `none`: wherever the best path leads. `least-latency`: the destination with the best path.
 * `least-conns`: the one with the fewest open connections of this source. `round-robin`: one after the other. `random`: any.
 */
export const BalancePolicy = Schema.Literals(["none", "least-latency", "least-conns", "round-robin", "random"])
export type BalancePolicy = typeof BalancePolicy.Type

/** Who is asked after a destination has refused. */
export type Retry =
  /** Nobody. */
  | { readonly _tag: "Never" }
  /** Others, until so many destinations were asked in all. */
  | { readonly _tag: "Count"; readonly destinations: number }
  /** Others, as long as the dial has not lasted this long. */
  | { readonly _tag: "Timed"; readonly millis: number }
  /** All others. */
  | { readonly _tag: "All" }

/** Without a policy every path is tried, whatever `retry` says. */
export interface Balancing {
  readonly policy: BalancePolicy
  readonly retry: Retry
}

/** What holds unless configured. */
export const NO_BALANCING: Balancing = { policy: "none", retry: { _tag: "All" } }
