/**
 * The network as the rest of connet sees it: sockets that listen and dial, connections, streams.
 *
 * One contract, several layers: `Quic` and `Tcp` for real networks, `Network` for both on one port number, `Memory` for
 * tests and for parts of one process. What every layer must do is written down, and checked, in
 * `test/compliance/transport.ts`.
 *
 * Lifetimes nest: endpoint > listener, connection > stream. An endpoint (and with it everything on it) ends with the
 * Scope it was bound in, a connection with the Scope it was dialed or accepted in. Closing a listener refuses newcomers
 * and leaves accepted connections alone.
 */
import type { Duplex } from "node:stream"
import { Context, type Duration, Effect, Exit, FiberSet, Layer, Scope } from "effect"
import type { Identity } from "../certs/Identity.ts"
import type { Carrier } from "../domain/Carrier.ts"
import type { Proxy } from "../domain/Proxy.ts"
import type { SocketAddress } from "../domain/SocketAddress.ts"
import type { Closed, Lost, TransportError } from "./TransportError.ts"
import type { Trust } from "./Trust.ts"

export interface BindOptions {
  /** Where to listen and from where to dial; port 0 takes a free one, host `::` means both families. */
  readonly address: SocketAddress
  /**
   * Asked for the IP address (v4-mapped ones as IPv4) of each newcomer before anything else of it is read, TLS included;
   * false refuses it. Whoever is connected already is left alone, whatever it says now.
   */
  readonly admits?: ((host: string) => boolean) | undefined
}

export interface DialTarget {
  readonly address: SocketAddress
  /** One of the endpoint's; if nothing is said, the first of them. */
  readonly carrier?: Carrier | undefined
  /** Application protocols (RFC 7301), preferred first: the first one that the listener speaks is chosen. */
  readonly protocols: ReadonlyArray<string>
  /** For TCP: what opens the connection for us. The host of the address may then be a name, which the proxy resolves. */
  readonly proxy?: Proxy | undefined
  /** Who must answer. */
  readonly trust: Trust
  /** What to show when the other end asks for a certificate. */
  readonly identity?: Identity
  /**
   * Who will open the streams after the first one: the dialer, if nothing is said. Both may on any carrier; over TCP a
   * stream of the other side costs more.
   */
  readonly opener?: "dialer" | "listener" | undefined
  /** How long the handshake may take, until the error `DialTimedOut`. */
  readonly timeout: Duration.Input
}

export interface ListenOptions {
  /** Application protocols that are spoken. No two listeners of an endpoint may share one. */
  readonly protocols: ReadonlyArray<string>
  /** What to show. All listeners of one endpoint show the same identity. */
  readonly identity: Identity
  /** Who may enter; anyone else is closed with code 100 before any of its streams is seen. */
  readonly trust: Trust
}

/** Bytes that were not for the transport itself, with where they came from. */
export interface Datagram {
  readonly from: SocketAddress
  readonly bytes: Uint8Array
}

/** Raw datagrams on the endpoint's own socket (NAT-PMP, probes): whatever has the QUIC fixed bit unset (RFC 9000 §17). */
export interface Datagrams {
  readonly send: (to: SocketAddress, bytes: Uint8Array) => Effect.Effect<void>
  /** The next one. At most 64 wait; older ones are dropped first. */
  readonly receive: Effect.Effect<Datagram>
}

/** What an endpoint holds right now. After everything on it was closed, all are 0. */
export interface Counts {
  readonly connections: number
  readonly streams: number
  readonly timers: number
  readonly listeners: number
}

export interface Endpoint {
  /** Where the endpoint is bound, with the port that was chosen. */
  readonly address: SocketAddress
  /** What it listens on and may dial with. */
  readonly carriers: ReadonlyArray<Carrier>
  readonly dial: (target: DialTarget) => Effect.Effect<Connection, TransportError, Scope.Scope>
  readonly listen: (options: ListenOptions) => Effect.Effect<Listener, TransportError, Scope.Scope>
  /** Has all listeners show another identity from the next handshake on. Whoever is connected is left alone. */
  readonly renew: (identity: Identity) => Effect.Effect<void>
  readonly datagrams: Datagrams
  readonly counts: () => Counts
}

export interface Listener {
  /**
   * The next connection that entered, owned by the Scope it is accepted in. At most 256 wait, further ones are refused.
   * Fails when the listener is closed.
   */
  readonly accept: Effect.Effect<Connection, TransportError, Scope.Scope>
}

export interface Traffic {
  /** How many streams are open, whoever opened them. */
  readonly streams: number
  /** How many more streams the other end allows at the moment. */
  readonly streamsLeft: number
  /** Smoothed round trip in milliseconds; undefined until measured. */
  readonly roundTripMillis: number | undefined
  readonly bytesSent: number
  readonly bytesReceived: number
  /** Bytes that the system does not take yet, because the other end is still to confirm those before them. */
  readonly bytesWaiting: number
}

export interface Connection {
  readonly carrier: Carrier
  readonly protocol: string
  /** The certificate the other end showed (DER), already checked against `trust`. */
  readonly peerCertificate: Uint8Array | undefined
  readonly localAddress: SocketAddress
  /** Where the other end is now; it may move. */
  readonly remoteAddress: () => SocketAddress
  /**
   * Opens a stream; waits while the other end allows no more. The other end sees it when its first bytes arrive, so the
   * opener writes first. The stream is the caller's: it must be read to its end and ended, or destroyed.
   */
  readonly open: Effect.Effect<TransportStream, TransportError>
  /** The next stream that the other end opened. At most 1,024 wait, further ones are reset. */
  readonly accept: Effect.Effect<TransportStream, TransportError>
  /** Closes with an application code and a reason (at most 1,000 bytes of it travel). Streams still open are cut. */
  readonly close: (code: number, text: string) => Effect.Effect<void>
  /** Why the connection is over, or undefined while it is not. */
  readonly ended: () => Closed | Lost | undefined
  /** Ends when the connection does, with the reason. */
  readonly closed: Effect.Effect<Closed | Lost>
  /** Asks the other end for a sign of life: milliseconds until anything came back. Callers set the deadline. */
  readonly probe: Effect.Effect<number, TransportError>
  readonly traffic: () => Traffic
}

/**
 * A stream of bytes in each direction: a Node Duplex with half-close, so `end()` finishes only the write half.
 *
 * - The end of the read half (`end`) is only ever the other side's `end()`.
 * - The other side's `reset` destroys the stream at once with `StreamReset`.
 * - The other side's `stop` fires the event `stop` with its code; what it had already sent can still be read, after
 *   which the stream is destroyed with `StreamStopped`. No further byte is written.
 * - The end of the connection destroys it with the connection's `TransportError`.
 * - `destroy()` before both halves are done resets and stops what is left, with code 0.
 */
export interface TransportStream extends Duplex {
  /** Gives up the write half: the other side gets `StreamReset` with this code. */
  reset(code: number): void
  /** Gives up the read half: the other side is told to stop writing. What was received is dropped. */
  stop(code: number): void
}

/** The other side gave up its write half: what came so far is not all there was. */
export class StreamReset extends Error {
  override readonly name = "StreamReset"
  readonly code: number
  constructor(code: number) {
    super(`the other side reset the stream (code ${code})`)
    this.code = code
  }
}

/** The other side does not read any more. */
export class StreamStopped extends Error {
  override readonly name = "StreamStopped"
  readonly code: number
  constructor(code: number) {
    super(`the other side stopped reading (code ${code})`)
    this.code = code
  }
}

export class Transport extends Context.Service<
  Transport,
  {
    /** Opens the socket. Fails with `BindFailed`, or `Unsupported` where the layer cannot run. */
    readonly bind: (options: BindOptions) => Effect.Effect<Endpoint, TransportError, Scope.Scope>
  }
>()("connet/transport/Transport") {}

/** The one socket that a process does everything with: what is dialed from it is what others see and can dial back. */
export class TransportEndpoint extends Context.Service<TransportEndpoint, Endpoint>()(
  "connet/transport/TransportEndpoint"
) {
  static readonly layer = (options: BindOptions) =>
    Layer.effect(
      TransportEndpoint,
      Transport.use((transport) => transport.bind(options))
    )
}

/**
 * Accepts for ever, and runs `handler` for each connection in a fiber and Scope of its own, so that no connection can
 * end another. Ends with the listener's error; interrupts the handlers and closes their connections when interrupted.
 */
export const serve = Effect.fnUntraced(function* <R>(
  listener: Listener,
  handler: (connection: Connection) => Effect.Effect<void, never, R>
) {
  const handlers = yield* FiberSet.make<void, never>()
  while (true) {
    const scope = yield* Scope.make()
    const connection = yield* listener.accept.pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.onError(() => Scope.close(scope, Exit.void)),
      Effect.onInterrupt(() => Scope.close(scope, Exit.void))
    )
    yield* FiberSet.run(
      handlers,
      handler(connection).pipe(
        Effect.provideService(Scope.Scope, scope),
        Effect.tapCause((cause) => Effect.logError("connection handler failed", cause)),
        Effect.ensuring(Scope.close(scope, Exit.void))
      )
    )
  }
})
