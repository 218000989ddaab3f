import { Schema } from "effect"

/** How a relayed stream is encrypted from end to end; `none`: the relay can read it. */
export const Encryption = Schema.Literals(["none", "tls", "dhxcp"])

export type Encryption = typeof Encryption.Type
