import { Effect, Result, Schema } from "effect"
import { TransportChoice } from "../domain/Carrier.ts"
import type { ConfigSource } from "./ConfigTables.ts"
import { originOf } from "./fold.ts"
import { invalidValues } from "./invalidValues.ts"
import { parsed } from "./parsed.ts"

const parseTransport = (text: string): Result.Result<TransportChoice, string> =>
  Result.mapError(
    Schema.decodeUnknownResult(TransportChoice)(text),
    () => `"${text}" is not a transport; write "auto", "quic" or "tcp"`
  )

/** `transport` of an endpoint, which may leave the choice to its client. */
export const endpointTransport = parsed(parseTransport)

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
