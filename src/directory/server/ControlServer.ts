import { Effect, FiberSet, Layer, type Scope } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { Transport } from "../../transport/Transport.ts"
import { Trust } from "../../transport/Trust.ts"
import { type DirectoryServerOptions, makeDirectoryServer, PROTOCOLS } from "./DirectoryServer.ts"

export interface Ingress {
  readonly address: SocketAddress.SocketAddress
  readonly identity: Identity
}

export interface ControlServerOptions extends DirectoryServerOptions {
  /** Where clients come in; each has a socket of its own. */
  readonly ingresses: ReadonlyArray<Ingress>
}

/** The control server as a role: fails when one of its addresses cannot be listened on. */
const make = Effect.fnUntraced(function* (options: ControlServerOptions) {
  const transport = yield* Transport
  const directory = yield* makeDirectoryServer(options)
  const serving = yield* FiberSet.make()
  return yield* Effect.forEach(options.ingresses, ({ address, identity }) =>
    Effect.gen(function* () {
      const endpoint = yield* transport.bind({ address })
      const listener = yield* endpoint.listen({ protocols: PROTOCOLS, identity, trust: Trust.anyone })
      yield* FiberSet.run(serving, Effect.scoped(directory.serve(listener)))
      yield* Effect.logInfo("server.listening").pipe(
        Effect.annotateLogs({ address: SocketAddress.format(endpoint.address) })
      )
      return endpoint.address
    })
  )
})

export const ControlServer = {
  /** Runs the control server for as long as the Layer lives. */
  layer: (options: ControlServerOptions) => Layer.effectDiscard(make(options)),
  /** Starts it in the current Scope; the addresses it listens on. */
  start: (
    options: ControlServerOptions
  ): Effect.Effect<
    ReadonlyArray<SocketAddress.SocketAddress>,
    Effect.Error<ReturnType<typeof make>>,
    Transport | Scope.Scope
  > => make(options)
}
