import { Effect, FiberSet, Layer, type Scope, Stream, SubscriptionRef } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import { type AddressRules, ANY_ADDRESS } from "../../domain/AddressRules.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { type BindOptions, type Listener, Transport } from "../../transport/Transport.ts"
import { Trust } from "../../transport/Trust.ts"
import { type Access, makeAccess } from "./Access.ts"
import { type ControlIdentity, makeControlIdentity } from "./ControlIdentity.ts"
import * as DirectoryServer from "./DirectoryServer.ts"
import * as RelayRoster from "./RelayRoster.ts"

export interface Ingress {
  readonly address: SocketAddress.SocketAddress
  readonly identity: Identity
  /** What to show instead, each from when it comes. */
  readonly renewals?: Stream.Stream<Identity>
  /** From which IP addresses one may come in here; without it, from all. */
  readonly admits?: BindOptions["admits"]
  /** The rules that `admits` goes by at the moment. */
  readonly rules?: () => AddressRules
}

export interface ControlServerOptions extends Omit<DirectoryServer.DirectoryServerOptions, "identity" | "relays"> {
  /** Made anew unless it is given. */
  readonly identity?: ControlIdentity
  /** Where clients come in; each has a socket of its own. */
  readonly ingresses: ReadonlyArray<Ingress>
  /** How relays come in. */
  readonly relays?: {
    readonly access: Access
    readonly ingresses: ReadonlyArray<Ingress>
    /** A way in within this process. */
    readonly listener?: Listener
  }
}

/** Where one comes in, and the rules of it. */
export interface IngressSnapshot {
  readonly address: SocketAddress.SocketAddress
  readonly rules: AddressRules
}

/** What a control server knows at the moment. */
export interface ControlSnapshot extends DirectoryServer.DirectorySnapshot {
  /** By which relays know it. */
  readonly id: string
  readonly clientIngresses: ReadonlyArray<IngressSnapshot>
  readonly relayIngresses: ReadonlyArray<IngressSnapshot>
  readonly relays: ReadonlyArray<RelayRoster.RegisteredRelay>
}

/** The control server as a role: fails when one of its addresses cannot be listened on. */
const make = Effect.fnUntraced(function* (options: ControlServerOptions) {
  const transport = yield* Transport
  const { identity = makeControlIdentity(), relays = { access: makeAccess([]), ingresses: [] } } = options
  const roster = yield* RelayRoster.makeRelayRoster({ identity, access: relays.access })
  const directory = yield* DirectoryServer.makeDirectoryServer({ ...options, identity, relays: roster.relays })
  const serving = yield* FiberSet.make()

  const open = Effect.fnUntraced(function* (
    { address, identity, renewals = Stream.empty, admits }: Ingress,
    role: Pick<RelayRoster.RelayRoster, "serve">,
    protocols: ReadonlyArray<string>,
    event: string
  ) {
    const endpoint = yield* transport.bind({ address, admits })
    const listener = yield* endpoint.listen({ protocols, identity, trust: Trust.anyone })
    yield* FiberSet.run(serving, Effect.scoped(role.serve(listener)))
    yield* Effect.forkScoped(Stream.runForEach(renewals, endpoint.renew))
    yield* Effect.logInfo(event).pipe(Effect.annotateLogs({ address: SocketAddress.format(endpoint.address) }))
    return endpoint.address
  })
  const clients = yield* Effect.forEach(options.ingresses, (ingress) =>
    open(ingress, directory, DirectoryServer.PROTOCOLS, "server.listening")
  )
  const registrations = yield* Effect.forEach(relays.ingresses, (ingress) =>
    open(ingress, roster, RelayRoster.PROTOCOLS, "server.listening.relays")
  )
  if (relays.listener !== undefined) yield* FiberSet.run(serving, Effect.scoped(roster.serve(relays.listener)))
  const ingresses = (
    configured: ReadonlyArray<Ingress>,
    bound: ReadonlyArray<SocketAddress.SocketAddress>
  ): ReadonlyArray<IngressSnapshot> =>
    configured.map(({ rules }, at) => ({ address: bound[at]!, rules: rules?.() ?? ANY_ADDRESS }))
  const snapshot = Effect.map(
    directory.snapshot,
    (known): ControlSnapshot => ({
      ...known,
      id: identity.id,
      clientIngresses: ingresses(options.ingresses, clients),
      relayIngresses: ingresses(relays.ingresses, registrations),
      relays: SubscriptionRef.getUnsafe(roster.relays)
    })
  )
  return { clients, relays: registrations, snapshot }
})

export const ControlServer = {
  /** Runs the control server for as long as the Layer lives. */
  layer: (options: ControlServerOptions) => Layer.effectDiscard(make(options)),
  /** Starts it in the current Scope: the addresses it listens on, and what it knows whenever that is asked. */
  start: (
    options: ControlServerOptions
  ): Effect.Effect<
    Effect.Success<ReturnType<typeof make>>,
    Effect.Error<ReturnType<typeof make>>,
    Transport | Scope.Scope
  > => make(options)
}
