import { Effect, Layer } from "effect"
import { Command } from "effect/cli"
import { loadIdentity } from "../certs/load.ts"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { serverConfig } from "../config/ServerConfig.ts"
import { ControlServer } from "../directory/server/ControlServer.ts"
import * as Quic from "../transport/quic/Quic.ts"
import { serverFlags, serverSource } from "./flags.ts"
import { launch } from "./launch.ts"
import { listenAddress } from "./listenAddress.ts"
import { withAdvice } from "./withAdvice.ts"

const role = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const config = yield* serverConfig(sources)
  const ingresses = yield* Effect.forEach(config.ingresses, (ingress, index) =>
    Effect.all({
      address: listenAddress(`server.ingress[${index}].addr`, ingress.address),
      identity: loadIdentity(ingress.certificateFile, ingress.keyFile)
    })
  )
  if (config.tokens.length === 0) {
    yield* Effect.logWarning("no tokens, so no client can connect: set server.tokens or server.tokens-file")
  }
  const { tokens, endpointExpiry } = config
  return yield* Layer.launch(ControlServer.layer({ ingresses, tokens, endpointExpiry })).pipe(
    Effect.provide(Quic.layer()),
    Effect.mapError(withAdvice("is another connet server running? Set server.ingress addr to another port"))
  )
})

/** `connet server` */
export const server = Command.make("server", serverFlags, (flags) => launch(serverSource(flags), role)).pipe(
  Command.withDescription("Run the server where clients meet")
)
