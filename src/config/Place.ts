import type { ConfigSource } from "./ConfigTables.ts"
import { originOf } from "./fold.ts"

/** Where a part of the settings is, for messages about it. */
export interface Place {
  /** The key of the part, like `server.ingress`. */
  readonly key: string
  /** Where the value at a path below the part comes from. */
  readonly origin: (path: ReadonlyArray<PropertyKey>) => string
}

/** A role's table. */
export const placeOf = (sources: ReadonlyArray<ConfigSource>, role: string): Place => ({
  key: role,
  origin: (path) => originOf(sources, [role, ...path])
})

/** A part of a role's table. */
export const placeIn = (sources: ReadonlyArray<ConfigSource>, role: string) => {
  const { key, origin } = placeOf(sources, role)
  return (name: string): Place => ({ key: `${key}.${name}`, origin: (path) => origin([name, ...path]) })
}
