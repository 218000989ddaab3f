import { Schema } from "effect"
import { oneOf } from "./oneOf.ts"
import { parsed } from "./parsed.ts"

/**
 * How a client finds the router that shall forward its port: the default route of the system, a guess from the way to the
 * server, or not at all.
 */
export const NatPmp = Schema.Literals(["system", "dial", "disabled"])

export type NatPmp = typeof NatPmp.Type

/** `nat-pmp` of a client. */
export const natPmpSetting = parsed(oneOf("a way to find the router", NatPmp.literals))
