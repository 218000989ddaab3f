/** What a client and a relay have in common: each holds a session with a control server. */
import { Duration, Effect, Schema } from "effect"
import { DEFAULTS } from "./defaults.ts"
import { parseProxySetting } from "./ProxySetting.ts"
import { parsed } from "./parsed.ts"
import { positiveDuration } from "./positiveDuration.ts"
import { transportSetting } from "./transportSetting.ts"

/** The fields of `[client]` and `[relay]`. */
export const sessionSettings = {
  metadata: Schema.String.check(
    Schema.makeFilter((text) => {
      const bytes = Buffer.byteLength(text)
      return bytes > MAX_METADATA_BYTES ? `it has ${bytes} bytes; write at most ${MAX_METADATA_BYTES}` : undefined
    })
  ).pipe(Schema.withDecodingDefaultKey(Effect.succeed(""))),
  proxy: parsed(parseProxySetting),
  transport: transportSetting,
  "handshake-idle-timeout": Schema.BigInt
}

/** How long a handshake may take. */
export const handshakeTimeout = (settings: { readonly "handshake-idle-timeout": bigint }): Duration.Duration =>
  positiveDuration(settings["handshake-idle-timeout"]) ?? Duration.nanos(DEFAULTS.client["handshake-idle-timeout"])

/** What a control server takes from a client or a relay at most. */
const MAX_METADATA_BYTES = 4_096
