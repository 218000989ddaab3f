import type { ConfigTables } from "./ConfigTables.ts"

const SECOND = 1_000_000_000n

const session = { proxy: "environment", transport: "auto", "handshake-idle-timeout": 5n * SECOND }
/** Long enough for a client to reconnect after a lost network, as upstream has it. */
const expiry = { "endpoint-expiry-timeout": 30n * SECOND }

/** What holds where nothing else is said: tables like any others, folded before all of them. */
export const DEFAULTS = {
  "log-level": "info",
  "log-format": "text",
  client: {
    ...session,
    "server-addr": "127.0.0.1:19190",
    "direct-addr": ":19192",
    "nat-pmp": "system",
    // What a relay cannot read. Upstream's default is `none`: its relays can.
    "relay-encryptions": ["tls", "dhxcp"]
  },
  server: { ...expiry, transport: "auto" },
  control: { ...expiry, transport: "auto" },
  relay: { ...session, "control-addr": "localhost:19189" }
} satisfies ConfigTables
