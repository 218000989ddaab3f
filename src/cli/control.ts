import { Effect } from "effect"
import { Command } from "effect/cli"
import type { ConfigSource } from "../config/ConfigTables.ts"
import { controlConfig } from "../config/ControlConfig.ts"
import { placeIn } from "../config/Place.ts"
import { logExpired, makeAccess } from "../directory/server/Access.ts"
import { ControlServer } from "../directory/server/ControlServer.ts"
import { controlStatus } from "../status/ControlStatus.ts"
import * as Network from "../transport/Network.ts"
import { controlIdentity } from "./controlIdentity.ts"
import { controlFlags, controlSource } from "./flags.ts"
import { follow } from "./follow.ts"
import { identitiesOf, identityIn, ingresses, takeOver } from "./ingresses.ts"
import { launch } from "./launch.ts"
import { statusTeller } from "./status.ts"
import { VERSION } from "./version.ts"
import { withAdvice } from "./withAdvice.ts"

const prepare = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const { clients, relays, transport, tuning, endpointExpiry, statusAddress, storeFolder } =
    yield* controlConfig(sources)
  const place = placeIn(sources, "control")
  const options = {
    ingresses: yield* ingresses(place("clients-ingress"), clients.ingresses, identityIn),
    access: makeAccess(clients.tokens),
    endpointExpiry,
    relays: {
      access: makeAccess(relays.tokens),
      ingresses: yield* ingresses(place("relays-ingress"), relays.ingresses, identityIn)
    }
  }
  const tellStatus = yield* statusTeller(place("status-addr"), statusAddress)
  const apply = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
    const newer = yield* controlConfig(sources)
    const ofClients = yield* identitiesOf(newer.clients.ingresses)
    const ofRelays = yield* identitiesOf(newer.relays.ingresses)
    yield* options.access.replace(newer.clients.tokens)
    yield* options.relays.access.replace(newer.relays.tokens)
    yield* takeOver("control.clients-ingress", options.ingresses, newer.clients.ingresses, ofClients)
    yield* takeOver("control.relays-ingress", options.relays.ingresses, newer.relays.ingresses, ofRelays)
  })
  if (clients.tokens.length === 0) {
    yield* Effect.logWarning("no tokens, so no client can connect: set control.clients-tokens or -file")
  }
  if (relays.tokens.length === 0) {
    yield* Effect.logWarning("no tokens, so no relay can connect: set control.relays-tokens or -file")
  }
  yield* logExpired([...clients.tokens, ...relays.tokens])
  return controlIdentity("control", storeFolder).pipe(
    Effect.flatMap((identity) => ControlServer.start({ ...options, identity })),
    Effect.tap(({ snapshot }) => tellStatus(Effect.map(snapshot, (known) => controlStatus(VERSION, known)))),
    Effect.andThen(follow("control", sources, apply)),
    Effect.scoped,
    Effect.provide(Network.layer({ ...tuning, transport })),
    Effect.mapError(withAdvice("is another control server running? Set the addr of its ingresses to other ports"))
  )
})

/** What `connet control` runs. */
export const controlRole = { name: "control", prepare } as const

/** `connet control` */
export const control = Command.make("control", controlFlags, (flags) => launch(controlSource(flags), controlRole)).pipe(
  Command.withDescription("Run a server without a relay: clients meet, relays register"),
  Command.withExamples([{ command: "connet control --config control.toml" }])
)
