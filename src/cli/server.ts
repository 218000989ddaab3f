import { Effect } from "effect"
import { Command } from "effect/cli"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { serverConfig } from "../config/ServerConfig.ts"
import { logExpired, makeAccess } from "../directory/server/Access.ts"
import { startCombined } from "../relay/server/Relay.ts"
import * as Network from "../transport/Network.ts"
import { controlIdentity } from "./controlIdentity.ts"
import { serverFlags, serverSource } from "./flags.ts"
import { ingresses, relayIngresses } from "./ingresses.ts"
import { launch } from "./launch.ts"
import { VERSION } from "./version.ts"
import { withAdvice } from "./withAdvice.ts"

const prepare = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const { tokens, endpointExpiry, storeFolder, relayLimits: limits, ...config } = yield* serverConfig(sources)
  const control = {
    ingresses: yield* ingresses("server.ingress", config.ingresses),
    access: makeAccess(tokens),
    endpointExpiry
  }
  const relay = {
    ingresses: yield* relayIngresses("server.relay-ingress", config.relayIngresses),
    limits,
    buildVersion: VERSION
  }
  if (tokens.length === 0) {
    yield* Effect.logWarning("no tokens, so no client can connect: set server.tokens or server.tokens-file")
  }
  yield* logExpired(tokens)
  return controlIdentity("server", storeFolder).pipe(
    Effect.flatMap((identity) => startCombined({ control: { ...control, identity }, relay })),
    Effect.flatMap(({ run }) => run),
    Effect.scoped,
    Effect.provide(Network.layer({ ...config.tuning, transport: config.transport })),
    Effect.mapError(
      withAdvice(
        "is another connet server running? Set server.ingress addr and server.relay-ingress addr to other ports"
      )
    )
  )
})

/** What `connet server` runs. */
export const serverRole = { name: "server", prepare } as const

/** `connet server` */
export const server = Command.make("server", serverFlags, (flags) => launch(serverSource(flags), serverRole)).pipe(
  Command.withDescription("Run the server where clients meet, and a relay beside it"),
  Command.withExamples([
    { command: "connet server", description: "Prints a link for --server of its clients" },
    { command: "connet server --config server.toml", description: "With settings from a file" }
  ])
)
