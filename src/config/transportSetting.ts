import { Effect, Result, Schema } from "effect"
import { TransportChoice } from "../domain/Carrier.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { originOf } from "./fold.ts"
import { invalidValues } from "./invalidValues.ts"
import { oneOf } from "./oneOf.ts"
import { parsed } from "./parsed.ts"

/** `transport` of an endpoint, which may leave the choice to its client. */
export const endpointTransport = parsed(oneOf("a transport", TransportChoice.literals))

/** `transport` of a role: what it listens on and dials with. */
export const transportSetting = endpointTransport.pipe(Schema.withDecodingDefaultKey(Effect.succeed("auto")))

const Setting = Schema.Struct({ transport: transportSetting })

/** The setting alone, for roles that have no other one to decode. */
export const roleTransport = (
  sources: ReadonlyArray<ConfigSource>,
  role: "server" | "control",
  { transport = "" }: { readonly transport?: string }
) =>
  Schema.decodeResult(Setting)(transport === "" ? {} : { transport }).pipe(
    Result.map((setting) => setting.transport),
    Result.mapError((error) => invalidValues(error, role, (path) => originOf(sources, [role, ...path])))
  )
