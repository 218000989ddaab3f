import { Result, Schema } from "effect"
import { TransportChoice } from "../domain/Carrier.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { originOf } from "./fold.ts"
import { invalidValues } from "./invalidValues.ts"
import { oneOf } from "./oneOf.ts"
import { parsed } from "./parsed.ts"

/** `transport`: what a role listens on and dials with, and what may carry the links of an endpoint. */
export const transportSetting = parsed(oneOf("a transport", TransportChoice.literals))

const Setting = Schema.Struct({ transport: transportSetting })

/** The setting alone, for roles that have no other one to decode. */
export const roleTransport = (
  sources: ReadonlyArray<ConfigSource>,
  role: "server" | "control",
  { transport }: { readonly transport?: string }
) =>
  Schema.decodeUnknownResult(Setting)({ transport }).pipe(
    Result.map((setting) => setting.transport),
    Result.mapError((error) => invalidValues(error, role, (path) => originOf(sources, [role, ...path])))
  )
