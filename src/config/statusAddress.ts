import { Result } from "effect"
import { ValueInvalid } from "./ConfigError.ts"
import type { ConfigSource, RoleName } from "./ConfigTables.ts"
import { originOf } from "./fold.ts"
import { type HostPort, parseListenAddress } from "./HostPort.ts"
import type { Checked } from "./together.ts"

/** `status-addr` of a role: where it tells its status, or undefined for nowhere. */
export const statusAddress = (
  sources: ReadonlyArray<ConfigSource>,
  role: RoleName,
  table: { readonly "status-addr"?: string }
): Checked<HostPort | undefined> => {
  const text = table["status-addr"] ?? ""
  if (text === "") return Result.succeed(undefined)
  return Result.mapError(
    parseListenAddress(text),
    (detail) =>
      new ValueInvalid({ origin: originOf(sources, [role, "status-addr"]), key: `${role}.status-addr`, detail })
  )
}
