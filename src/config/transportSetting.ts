import { Result, Schema } from "effect"
import { TransportChoice } from "../domain/Carrier.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { checkTable } from "./checkTable.ts"
import { oneOf } from "./oneOf.ts"
import { placeOf } from "./Place.ts"
import { parsed } from "./parsed.ts"

/** `transport`: what a role listens on and dials with, and what may carry the links of an endpoint. */
export const transportSetting = parsed(oneOf("a transport", TransportChoice.literals))

const Setting = Schema.Struct({ transport: transportSetting })

/** The setting alone, for roles that have no other one to decode. */
export const roleTransport = (
  sources: ReadonlyArray<ConfigSource>,
  role: "server" | "control",
  { transport }: { readonly transport?: string }
) => Result.map(checkTable(Setting, { transport }, placeOf(sources, role)), (setting) => setting.transport)
