/** The relay as a role: of its own, or beside a control server in one process. */
import { randomBytes } from "node:crypto"
import { type Duration, Effect, Redacted, type Scope } from "effect"
import { issueServer } from "../../certs/issue.ts"
import { realmName } from "../../certs/realmName.ts"
import { dialByName } from "../../directory/client/sessions.ts"
import type { DirectoryError } from "../../directory/DirectoryError.ts"
import { makeAccess } from "../../directory/server/Access.ts"
import { ControlServer, type ControlServerOptions, type ControlSnapshot } from "../../directory/server/ControlServer.ts"
import * as base32hex from "../../domain/base32hex.ts"
import type { ProxyFor } from "../../domain/Proxy.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { unrestricted } from "../../domain/TokenRule.ts"
import type { HostPort } from "../../internal/tcp.ts"
import { Alpn } from "../../protocol/Alpn.ts"
import * as Memory from "../../transport/memory/Memory.ts"
import { Transport } from "../../transport/Transport.ts"
import type { TransportError } from "../../transport/TransportError.ts"
import { Trust } from "../../transport/Trust.ts"
import type { RelayError } from "../RelayError.ts"
import { inProcess } from "./RelayMemory.ts"
import { type RelayServerOptions, type RelaySnapshot, startRelay } from "./RelayServer.ts"

export interface RelayOptions extends Omit<RelayServerOptions, "connect" | "control"> {
  readonly control: HostPort
  /** Who the control server must be. */
  readonly trust: Trust
  /** For TCP connections to the control server. */
  readonly proxy?: ProxyFor | undefined
  readonly handshakeTimeout: Duration.Duration
}

export interface CombinedOptions {
  readonly control: Omit<ControlServerOptions, "relays">
  readonly relay: Pick<RelayServerOptions, "ingresses" | "limits" | "buildVersion">
}

/** What is running: where it listens, an Effect that ends only when it cannot go on, and what both know at the moment. */
export interface Running {
  readonly clients: ReadonlyArray<SocketAddress.SocketAddress>
  readonly relays: ReadonlyArray<SocketAddress.SocketAddress>
  readonly run: Effect.Effect<never, DirectoryError | RelayError>
  readonly snapshot: Effect.Effect<{ readonly control: ControlSnapshot; readonly relay: RelaySnapshot }>
}

const ANYWHERE = { host: "127.0.0.1", port: 0 }

/** Starts a relay that registers at a control server over the network, from the sockets that its clients reach. */
export const startRelayAlone = (options: RelayOptions) =>
  startRelay({
    ...options,
    control: SocketAddress.format(options.control),
    connect: (endpoints) => (carriers) =>
      Effect.gen(function* () {
        const { trust, proxy: proxyFor, handshakeTimeout: timeout } = options
        const failures: Array<string> = []
        for (const endpoint of endpoints) {
          const dialing = { carriers, proxyFor, protocols: Alpn.registration, trust, timeout }
          const dialed = yield* Effect.result(dialByName(endpoint, [options.control], dialing))
          if (dialed._tag === "Success") return dialed.success
          failures.push(dialed.failure)
        }
        return yield* Effect.fail(failures.join("; "))
      })
  })

/** Starts a control server and a relay that know each other within the process: no port lies between them. */
export const startCombined = Effect.fnUntraced(function* (
  options: CombinedOptions
): Effect.fn.Return<Running, TransportError, Transport | Scope.Scope> {
  const within = Memory.layer()
  const bind = Effect.flatMap(Transport, (transport) => transport.bind({ address: ANYWHERE })).pipe(
    Effect.provide(within)
  )
  const [controlEnd, relayEnd] = [yield* bind, yield* bind]
  const identity = yield* issueServer([realmName("reserve.relay")])
  const token = Redacted.make(base32hex.encode(randomBytes(32)))
  const listener = yield* controlEnd.listen({ protocols: Alpn.registration, identity, trust: Trust.anyone })
  const control = yield* ControlServer.start({
    ...options.control,
    relays: { access: makeAccess([unrestricted(token)]), ingresses: [], listener }
  })
  const relay = yield* startRelay({
    ...options.relay,
    token,
    metadata: "embedded relay",
    control: "this process",
    memory: inProcess(),
    controlCarriers: relayEnd.carriers,
    connect: () => () =>
      relayEnd
        .dial({
          address: controlEnd.address,
          protocols: Alpn.registration,
          trust: Trust.pinned(identity.leaf.raw),
          timeout: "5 seconds"
        })
        .pipe(Effect.mapError(({ message }) => message))
  })
  return {
    clients: control.clients,
    relays: relay.addresses,
    run: relay.run,
    snapshot: Effect.map(control.snapshot, (known) => ({ control: known, relay: relay.snapshot() }))
  }
})
