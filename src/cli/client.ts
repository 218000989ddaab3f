import { Effect, Redacted } from "effect"
import { loadAuthorities } from "../certs/load.ts"
import { type ClientConfig, clientConfig } from "../config/ClientConfig.ts"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { placeIn } from "../config/Place.ts"
import { proxyChoice } from "../config/ProxySetting.ts"
import { Client } from "../endpoint/Client.ts"
import { dialedUplink, type FindUplink, systemUplink } from "../peer/natpmp/Uplink.ts"
import { clientStatus } from "../status/ClientStatus.ts"
import * as Network from "../transport/Network.ts"
import { Trust } from "../transport/Trust.ts"
import * as Endpoints from "./endpoints.ts"
import { clientSource } from "./flags.ts"
import { lastingResetKey } from "./lastingResetKey.ts"
import { launch } from "./launch.ts"
import { listenAddress } from "./listenAddress.ts"
import { statusTeller } from "./status.ts"
import { VERSION } from "./version.ts"
import { isTaken, withAdvice } from "./withAdvice.ts"

const prepare = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const { serverName, serverAuthoritiesFile, serverPin, anyDirectPort, statusAddress, transport, tuning, ...config } =
    yield* clientConfig(sources)
  const endpoints = {
    destinations: yield* Endpoints.destinations(config.destinations),
    sources: yield* Endpoints.sources(config.sources)
  }
  const roots = serverAuthoritiesFile === undefined ? undefined : yield* loadAuthorities(serverAuthoritiesFile)
  const place = placeIn(sources, "client")
  const directAddress = yield* listenAddress(place("direct-addr"), config.directAddress)
  const tellStatus = yield* statusTeller(place("status-addr"), statusAddress)
  if (Redacted.value(config.token) === "") {
    yield* Effect.logWarning("no token: set client.token, client.token-file or CONNET_TOKEN")
  }
  if (config.destinations.size + config.sources.size === 0) {
    yield* Effect.logWarning("nothing to do: set client.destinations or client.sources")
  }
  const proxy = yield* proxyChoice(config.proxy)
  const trust = serverPin === undefined ? Trust.authorities(serverName, roots) : Trust.fingerprint(serverPin)
  const reachedAt = { ...directAddress, host: config.directAddress.host && directAddress.host }
  const findUplink = uplinkFor(config)
  const options = { ...config, ...endpoints, findUplink, proxy, trust, directAddress, buildVersion: VERSION }
  const run = Effect.gen(function* () {
    const resetKey = config.resetKey ?? (transport === "tcp" ? undefined : yield* lastingResetKey(reachedAt))
    const network = Network.layer({ ...tuning, transport, ...(resetKey !== undefined && { resetKey }) })
    const start = (port: number) =>
      Client.start({ ...options, directAddress: { ...directAddress, port } }).pipe(
        Effect.tap(({ snapshot }) => tellStatus(Effect.sync(() => clientStatus(options, snapshot())))),
        Effect.flatMap(({ run }) => run),
        Effect.scoped,
        Effect.provide(network)
      )
    if (!anyDirectPort) return yield* start(directAddress.port)
    return yield* start(directAddress.port).pipe(
      Effect.catchIf(isTaken, ({ message }) =>
        Effect.logInfo("direct.port").pipe(
          Effect.annotateLogs({ reason: message, hint: "another port is taken; choose one with client.direct-addr" }),
          Effect.andThen(start(0))
        )
      )
    )
  })
  return Effect.mapError(
    run,
    withAdvice('is another connet client running? Set client.direct-addr to another port, or to ":0"')
  )
})

const uplinkFor = ({ natPmp, server }: Pick<ClientConfig, "natPmp" | "server">): FindUplink | undefined => {
  if (natPmp === "disabled") return undefined
  return natPmp === "dial" ? dialedUplink(server) : systemUplink
}

/** What `connet` runs. */
export const clientRole = { name: "client", prepare } as const

/** What `connet` does with its flags. */
export const client = (flags: Parameters<typeof clientSource>[0]) => launch(clientSource(flags), clientRole)
