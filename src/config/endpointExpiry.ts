import { Duration } from "effect"
import type { ControlTable, ServerTable } from "./ConfigTables.ts"
import { DEFAULTS } from "./defaults.ts"
import { positiveDuration } from "./positiveDuration.ts"

/** How long the endpoints of a lost client stay announced; zero: they are withdrawn at once. */
export const endpointExpiry = (table: ServerTable | ControlTable): Duration.Duration =>
  table["endpoint-expiry-disable"]
    ? Duration.zero
    : (positiveDuration(table["endpoint-expiry-timeout"]) ?? Duration.nanos(DEFAULTS.server["endpoint-expiry-timeout"]))
