import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import { fingerprint } from "../certs/ownIdentity.ts"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { placeIn } from "../config/Place.ts"
import { serverConfig } from "../config/ServerConfig.ts"
import { formatServerLink } from "../config/ServerLink.ts"
import { logExpired, makeAccess } from "../directory/server/Access.ts"
import { unrestricted } from "../domain/TokenRule.ts"
import { startCombined } from "../relay/server/Relay.ts"
import { serverStatus } from "../status/ServerStatus.ts"
import * as Network from "../transport/Network.ts"
import { controlIdentity } from "./controlIdentity.ts"
import { ownIdentityIn, ownTokenIn, reachableAt } from "./firstContact.ts"
import { serverFlags, serverSource } from "./flags.ts"
import { follow } from "./follow.ts"
import { identitiesOf, identityIn, ingresses, relayIngresses, takeOver } from "./ingresses.ts"
import { launch } from "./launch.ts"
import { statusTeller } from "./status.ts"
import { VERSION } from "./version.ts"
import { withAdvice } from "./withAdvice.ts"

const prepare = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const {
    tokens,
    endpointExpiry,
    storeFolder,
    relayLimits: limits,
    statusAddress,
    ...config
  } = yield* serverConfig(sources)
  const place = placeIn(sources, "server")
  const configured = yield* ingresses(place("ingress"), config.ingresses, (files) =>
    files === undefined ? Effect.undefined : identityIn(files)
  )
  const relay = {
    ingresses: yield* relayIngresses(place("relay-ingress"), config.relayIngresses),
    limits,
    buildVersion: VERSION
  }
  const tellStatus = yield* statusTeller(place("status-addr"), statusAddress)
  const ownCertificate = configured.some(({ identity }) => identity === undefined)
  if (tokens.length === 0 && !ownCertificate) {
    yield* Effect.logWarning("no tokens, so no client can connect: set server.tokens or server.tokens-file")
  }
  yield* logExpired(tokens)

  const run = Effect.gen(function* () {
    const identity = yield* controlIdentity("server", storeFolder)
    const folder = ownCertificate ? storeFolder : undefined
    const own = folder === undefined ? undefined : yield* ownIdentityIn(folder)
    const token = folder === undefined || tokens.length > 0 ? undefined : yield* ownTokenIn(folder)
    const access = makeAccess(token === undefined ? tokens : [unrestricted(token)])
    const certified = configured.map((ingress) => ({ ...ingress, identity: ingress.identity ?? own! }))
    const started = yield* startCombined({ control: { ingresses: certified, access, endpointExpiry, identity }, relay })
    const apply = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
      const newer = yield* serverConfig(sources)
      const identities = yield* identitiesOf(newer.ingresses)
      yield* access.replace(token !== undefined && newer.tokens.length === 0 ? [unrestricted(token)] : newer.tokens)
      yield* takeOver("server.ingress", configured, newer.ingresses, identities)
      yield* takeOver("server.relay-ingress", relay.ingresses, newer.relayIngresses)
    })
    yield* Effect.forkScoped(follow("server", sources, apply))
    yield* tellStatus(Effect.map(started.snapshot, (known) => serverStatus(VERSION, known)))
    if (own !== undefined) {
      const advertised = relay.ingresses.flatMap(({ advertised }) => advertised)
      const server = reachableAt(started.clients[0]!, advertised)
      yield* Console.log(formatServerLink(token, server, fingerprint(own)))
    }
    return yield* started.run
  })
  return run.pipe(
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
