/**
 * `Transport` for real networks: QUIC on UDP and TLS on TCP, side by side on one port number. Where one of them is not
 * wanted, or QUIC has no build for the platform, the other one is all there is.
 *
 * A dial says which carrier it means; whoever listens gets the connections of both.
 */
import { Effect, Exit, Layer, Queue, Scope } from "effect"
import type { TransportChoice } from "../domain/Carrier.ts"
import * as Quic from "./quic/Quic.ts"
import {
  type BindOptions,
  type Connection,
  type Endpoint,
  type Listener,
  type ListenOptions,
  Transport
} from "./Transport.ts"
import { Closed, TransportError } from "./TransportError.ts"
import * as Tcp from "./tcp/Tcp.ts"

/** The idle timeout and the buffers of UDP are for both carriers. */
export interface NetworkOptions extends Quic.QuicOptions {
  readonly transport?: TransportChoice | undefined
}

type Service = Transport["Service"]

/** How often a free port of UDP may be taken in TCP. */
const PORTS_TO_TRY = 16

/** Fails with `Unsupported` only when QUIC is all that may be used. */
export const layer = ({
  transport = "auto",
  ...options
}: NetworkOptions = {}): Layer.Layer<Transport, TransportError> => {
  if (transport === "quic") return Quic.layer(options)
  if (transport === "tcp") return Tcp.layer(options)
  return Layer.effect(
    Transport,
    Effect.gen(function* () {
      const quic = yield* Effect.result(Effect.provide(Transport, Quic.layer(options)))
      if (quic._tag === "Success") {
        return both(quic.success, yield* Effect.provide(Transport, Tcp.layer({ ...options, datagrams: false })))
      }
      yield* Effect.logWarning("quic.unsupported").pipe(
        Effect.annotateLogs({ reason: quic.failure.message, hint: "everything goes over TCP" })
      )
      return yield* Effect.provide(Transport, Tcp.layer(options))
    })
  )
}

const both = (quic: Service, tcp: Service): Service => {
  const bindAt = Effect.fnUntraced(function* (options: BindOptions) {
    const udp = yield* quic.bind(options)
    return beside(udp, yield* tcp.bind({ ...options, address: { ...options.address, port: udp.address.port } }))
  })
  const bind = (options: BindOptions, tries: number): ReturnType<Service["bind"]> =>
    Effect.gen(function* () {
      const scope = yield* Scope.fork(yield* Effect.scope)
      const bound = yield* Effect.exit(Effect.provideService(bindAt(options), Scope.Scope, scope))
      if (Exit.isSuccess(bound)) return bound.value
      yield* Scope.close(scope, Exit.void)
      // The port that UDP chose may be taken in TCP.
      if (options.address.port === 0 && tries > 1) return yield* bind(options, tries - 1)
      return yield* bound
    })
  return Transport.of({ bind: (options) => bind(options, PORTS_TO_TRY) })
}

const beside = (udp: Endpoint, tcp: Endpoint): Endpoint => ({
  address: udp.address,
  carriers: [...udp.carriers, ...tcp.carriers],
  dial: (target) => (target.carrier === "tcp" ? tcp : udp).dial(target),
  listen: (options) => listen([udp, tcp], options),
  renew: (identity) => Effect.andThen(udp.renew(identity), tcp.renew(identity)),
  datagrams: udp.datagrams,
  counts: () => {
    const [one, other] = [udp.counts(), tcp.counts()]
    return {
      connections: one.connections + other.connections,
      streams: one.streams + other.streams,
      timers: one.timers + other.timers,
      // Each listener listens on both.
      listeners: one.listeners
    }
  }
})

/** A connection in a Scope of its own, until somebody takes it. */
interface Entered {
  readonly connection: Connection
  readonly scope: Scope.Closeable
}

const closed = new TransportError({
  reason: new Closed({ by: "local", code: 0, application: true, text: "the listener is closed" })
})

/** One listener on several endpoints. What waits stays in their own queues, but for one connection of each. */
const listen = Effect.fnUntraced(function* (endpoints: ReadonlyArray<Endpoint>, options: ListenOptions) {
  const leave = ({ scope }: Entered) => Scope.close(scope, Exit.void)
  const entered = yield* Effect.acquireRelease(Queue.bounded<Entered, TransportError>(1), (queue) =>
    Effect.gen(function* () {
      const waiting = yield* Effect.orElseSucceed(Queue.clear(queue), () => [])
      yield* Effect.forEach(waiting, leave)
      yield* Queue.fail(queue, closed)
    })
  )
  const pump = (listener: Listener) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const handedOver = yield* listener.accept.pipe(
          Effect.provideService(Scope.Scope, scope),
          Effect.flatMap((connection) => Queue.offer(entered, { connection, scope })),
          restore,
          Effect.exit
        )
        if (Exit.isSuccess(handedOver) && handedOver.value) return
        yield* Scope.close(scope, Exit.void)
        yield* handedOver
      })
    ).pipe(Effect.forever, Effect.ignore)
  for (const endpoint of endpoints) {
    const listener = yield* endpoint.listen(options)
    yield* Effect.forkScoped(pump(listener))
  }
  return {
    accept: Effect.map(
      Effect.acquireRelease(Queue.take(entered), leave, { interruptible: true }),
      ({ connection }) => connection
    )
  } satisfies Listener
})
