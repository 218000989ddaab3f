import { Effect, Redacted } from "effect"
import { Command } from "effect/cli"
import { loadAuthorities } from "../certs/load.ts"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { placeIn } from "../config/Place.ts"
import { proxyChoice } from "../config/ProxySetting.ts"
import { relayConfig } from "../config/RelayConfig.ts"
import { startRelayAlone } from "../relay/server/Relay.ts"
import { inFolder, inProcess } from "../relay/server/RelayMemory.ts"
import { relayStatus } from "../status/RelayStatus.ts"
import * as Network from "../transport/Network.ts"
import { Trust } from "../transport/Trust.ts"
import { relayFlags, relaySource } from "./flags.ts"
import { follow } from "./follow.ts"
import { relayIngresses, takeOver } from "./ingresses.ts"
import { launch } from "./launch.ts"
import { statusTeller } from "./status.ts"
import { VERSION } from "./version.ts"
import { withAdvice } from "./withAdvice.ts"

const prepare = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const { controlName, controlAuthoritiesFile, storeFolder, statusAddress, ...config } = yield* relayConfig(sources)
  const roots = controlAuthoritiesFile === undefined ? undefined : yield* loadAuthorities(controlAuthoritiesFile)
  const place = placeIn(sources, "relay")
  const ingresses = yield* relayIngresses(place("ingress"), config.ingresses)
  const tellStatus = yield* statusTeller(place("status-addr"), statusAddress)
  if (Redacted.value(config.token) === "") {
    yield* Effect.logWarning("no token: set relay.token or relay.token-file")
  }
  const options = {
    ...config,
    ingresses,
    proxy: yield* proxyChoice(config.proxy),
    trust: Trust.authorities(controlName, roots),
    memory: storeFolder === undefined ? inProcess() : inFolder(storeFolder),
    buildVersion: VERSION
  }
  const apply = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
    yield* takeOver("relay.ingress", ingresses, (yield* relayConfig(sources)).ingresses)
  })
  return Effect.forkScoped(follow("relay", sources, apply)).pipe(
    Effect.andThen(startRelayAlone(options)),
    Effect.tap(({ snapshot }) => tellStatus(Effect.sync(() => relayStatus(VERSION, snapshot())))),
    Effect.flatMap(({ run }) => run),
    Effect.scoped,
    Effect.provide(Network.layer({ ...config.tuning, transport: config.transport })),
    Effect.mapError(withAdvice("is another connet relay running? Set relay.ingress addr to another port"))
  )
})

/** What `connet relay` runs. */
export const relayRole = { name: "relay", prepare } as const

/** `connet relay` */
export const relay = Command.make("relay", relayFlags, (flags) => launch(relaySource(flags), relayRole)).pipe(
  Command.withDescription("Run a relay, for clients without a direct path to each other"),
  Command.withExamples([
    { command: "connet relay --config relay.toml" },
    {
      command: "connet relay --control-addr connet.example:19189 --token-file token",
      description: "With settings as flags"
    }
  ])
)
