import { Schema } from "effect"

/** How QUIC finds out how much a path carries. */
export const CongestionControl = Schema.Literals(["bbr", "cubic", "reno"])

export type CongestionControl = typeof CongestionControl.Type
