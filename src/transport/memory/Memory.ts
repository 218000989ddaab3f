/**
 * `Transport` within one process, without sockets: for tests, and for parts of one process that are written to be apart.
 *
 * A `MemoryNetwork` is what the endpoints bound on it can reach; each has its own ports. Certificates are judged as on
 * any other transport, except that the proof of the key is taken for granted. A link can be slow, or cut: then nothing
 * passes any more, and both ends find out after the idle timeout.
 */

import { X509Certificate } from "node:crypto"
import { Duration, Effect, Layer } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import type { Carrier } from "../../domain/Carrier.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { Listeners } from "../Listeners.ts"
import {
  type BindOptions,
  type Connection,
  type Datagram,
  type DialTarget,
  type Endpoint,
  type ListenOptions,
  Transport,
  type TransportStream
} from "../Transport.ts"
import {
  BindFailed,
  Closed,
  DialTimedOut,
  Lost,
  ProtocolRefused,
  Refused,
  TransportError,
  type TransportReason
} from "../TransportError.ts"
import { refusal, type Trust } from "../Trust.ts"
import { MemoryStream, type MemoryStreamOwner } from "./MemoryStream.ts"

const IDLE_TIMEOUT_MILLIS = 20_000
const ACCEPT_STREAMS = 1_024
const DATAGRAM_QUEUE = 64
const MAX_STREAMS = 10_000
const FIRST_PORT = 49_152

const fail = (reason: TransportReason) => new TransportError({ reason })

/** What lies between a dialer and a listener. */
export interface Link {
  /** Milliseconds each piece takes, in each direction; pieces of one connection stay in order. */
  readonly delayMillis: () => number
  readonly cut: (carrier: Carrier) => boolean
}

export interface MemoryOptions {
  readonly idleTimeoutMillis?: number
  /** What it takes the part of. Default QUIC only. */
  readonly carriers?: ReadonlyArray<Carrier>
  /** How many streams a connection has at a time. Default 10,000. */
  readonly maxStreams?: number
}

export class MemoryNetwork {
  readonly endpoints = new Map<number, MemoryEndpoint>()
  readonly #links = new Map<number, { readonly to: SocketAddress.SocketAddress; readonly link: Link }>()
  #nextPort = FIRST_PORT

  freePort(): number {
    while (this.endpoints.has(this.#nextPort) || this.#links.has(this.#nextPort)) this.#nextPort++
    return this.#nextPort++
  }

  /** An address that leads to `to` over a link with faults. */
  link(to: SocketAddress.SocketAddress, link: Link): SocketAddress.SocketAddress {
    const port = this.freePort()
    this.#links.set(port, { to, link })
    return { host: "127.0.0.1", port }
  }

  route(address: SocketAddress.SocketAddress): {
    readonly to: MemoryEndpoint | undefined
    readonly link: Link | undefined
  } {
    const linked = this.#links.get(address.port)
    return { to: this.endpoints.get((linked?.to ?? address).port), link: linked?.link }
  }
}

export const layer = (network: MemoryNetwork = new MemoryNetwork(), options: MemoryOptions = {}) =>
  Layer.succeed(Transport, Transport.of({ bind: (bindOptions) => bind(network, options, bindOptions) }))

const bind = Effect.fnUntraced(function* (
  network: MemoryNetwork,
  options: MemoryOptions,
  { address, admits }: BindOptions
) {
  const host = address.host === "::" || address.host === "0.0.0.0" ? "127.0.0.1" : address.host
  const port = address.port === 0 ? network.freePort() : address.port
  if (network.endpoints.has(port)) {
    return yield* fail(new BindFailed({ address: SocketAddress.format(address), code: "EADDRINUSE" }))
  }
  return yield* Effect.acquireRelease(
    Effect.sync(() => {
      const endpoint = new MemoryEndpoint(
        network,
        { host, port },
        {
          idleTimeoutMillis: IDLE_TIMEOUT_MILLIS,
          maxStreams: MAX_STREAMS,
          carriers: ["quic"],
          ...options
        },
        admits
      )
      network.endpoints.set(port, endpoint)
      return endpoint
    }),
    (endpoint) => Effect.sync(() => endpoint.shutdown())
  )
})

class MemoryEndpoint implements Endpoint {
  readonly address: SocketAddress.SocketAddress
  readonly network: MemoryNetwork
  readonly connections = new Set<MemoryConnection>()
  readonly carriers: ReadonlyArray<Carrier>
  readonly options: Required<MemoryOptions>
  readonly #listeners = new Listeners<MemoryConnection>({
    close: (connection, code, text) => connection.closeWith(code, text),
    toConnection: (connection) => connection
  })
  readonly #admits: BindOptions["admits"]
  readonly #datagrams: Array<Datagram> = []
  #datagramArrived: (() => void) | undefined

  constructor(
    network: MemoryNetwork,
    address: SocketAddress.SocketAddress,
    options: Required<MemoryOptions>,
    admits: BindOptions["admits"]
  ) {
    this.#admits = admits
    this.network = network
    this.address = address
    this.options = options
    this.carriers = options.carriers
  }

  readonly counts = () => {
    let streams = 0
    let timers = 0
    for (const connection of this.connections) {
      streams += connection.streams.size
      timers += connection.timers
    }
    return { connections: this.connections.size, streams, timers, listeners: this.#listeners.size }
  }

  readonly datagrams = {
    send: (to: SocketAddress.SocketAddress, bytes: Uint8Array) =>
      Effect.sync(() =>
        this.network.route(to).to?.receiveDatagram({ from: this.address, bytes: Uint8Array.from(bytes) })
      ),
    receive: Effect.callback<Datagram>((resume) => {
      const take = () => {
        const next = this.#datagrams.shift()
        if (next === undefined) return
        this.#datagramArrived = undefined
        resume(Effect.succeed(next))
      }
      this.#datagramArrived = take
      take()
      return Effect.sync(() => {
        if (this.#datagramArrived === take) this.#datagramArrived = undefined
      })
    })
  }

  receiveDatagram(datagram: Datagram): void {
    if (this.#datagrams.length >= DATAGRAM_QUEUE) this.#datagrams.shift()
    this.#datagrams.push(datagram)
    this.#datagramArrived?.()
  }

  readonly listen = (options: ListenOptions) => this.#listeners.listen(options)

  readonly renew = (identity: Identity) => this.#listeners.renew(identity)

  readonly dial = (target: DialTarget): ReturnType<Endpoint["dial"]> => {
    const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(target.timeout))
    return Effect.acquireRelease(
      Effect.callback<MemoryConnection, TransportError>((resume) => {
        const answer = this.#answer(target)
        if (answer !== undefined) resume(answer)
      }).pipe(
        Effect.timeoutOrElse({
          duration: timeoutMillis,
          orElse: () => Effect.fail(fail(new DialTimedOut({ afterMillis: timeoutMillis })))
        })
      ),
      (connection) => Effect.sync(() => connection.closeWith(0, "")),
      { interruptible: true }
    )
  }

  /** How a dial goes; undefined when nobody answers. */
  #answer(target: DialTarget): Effect.Effect<MemoryConnection, TransportError> | undefined {
    const { to, link } = this.network.route(target.address)
    const carrier = target.carrier ?? this.carriers[0]!
    if (to === undefined || !to.carriers.includes(carrier) || link?.cut(carrier)) return undefined
    const listening = to.#listeners.common
    if (listening === undefined) return undefined
    if (to.#admits?.(this.address.host) === false) return Effect.fail(fail(new Refused()))
    const protocol = target.protocols.find((offered) => listening.protocols.includes(offered))
    if (protocol === undefined) return Effect.fail(fail(new ProtocolRefused({ offered: [...target.protocols] })))
    const shown = listening.identity.leaf
    const refused = refusal(target.trust, shown.raw, new Date(), leadsTo(shown, target.trust))
    if (refused !== undefined) return Effect.fail(fail(refused))
    const [ours, theirs] = MemoryConnection.pair(this, to, carrier, protocol, target, shown.raw, link)
    to.#listeners.enter(theirs, protocol, theirs.peerCertificate)
    return Effect.succeed(ours)
  }

  shutdown(): void {
    for (const connection of [...this.connections]) connection.closeWith(0, "")
    this.network.endpoints.delete(this.address.port)
  }
}

/** Whether a chain leads from the certificate to one of the roots; intermediates are not known here. */
const leadsTo = (certificate: X509Certificate, trust: Trust): boolean =>
  trust._tag === "Authorities" &&
  (trust.roots ?? []).some((pem) => {
    const root = new X509Certificate(pem)
    return certificate.checkIssued(root) && certificate.verify(root.publicKey)
  })

class MemoryConnection implements Connection, MemoryStreamOwner {
  readonly carrier: Carrier
  readonly protocol: string
  readonly peerCertificate: Uint8Array | undefined
  readonly localAddress: SocketAddress.SocketAddress
  readonly streams = new Set<MemoryStream>()
  timers = 0

  readonly #endpoint: MemoryEndpoint
  readonly #remote: SocketAddress.SocketAddress
  readonly #link: Link | undefined
  readonly #arrived: Array<MemoryStream> = []
  readonly #acceptors: Array<(stream: MemoryStream) => void> = []
  /** Wait until a stream ends. */
  readonly #openers: Array<() => void> = []
  readonly #enders = new Set<(reason: Closed | Lost) => void>()
  readonly #underWay: Array<() => void> = []
  #other: MemoryConnection | undefined
  #ended: Closed | Lost | undefined
  #idle: NodeJS.Timeout | undefined
  #bytesSent = 0

  private constructor(
    endpoint: MemoryEndpoint,
    remote: SocketAddress.SocketAddress,
    carrier: Carrier,
    protocol: string,
    peerCertificate: Uint8Array | undefined,
    link: Link | undefined
  ) {
    this.#endpoint = endpoint
    this.localAddress = endpoint.address
    this.#remote = remote
    this.carrier = carrier
    this.protocol = protocol
    this.peerCertificate = peerCertificate
    this.#link = link
    endpoint.connections.add(this)
  }

  static pair(
    dialer: MemoryEndpoint,
    listener: MemoryEndpoint,
    carrier: Carrier,
    protocol: string,
    target: DialTarget,
    serverCertificate: Uint8Array,
    link: Link | undefined
  ): readonly [MemoryConnection, MemoryConnection] {
    const shown = target.identity?.leaf.raw
    const a = new MemoryConnection(dialer, target.address, carrier, protocol, serverCertificate, link)
    const b = new MemoryConnection(listener, dialer.address, carrier, protocol, shown, link)
    a.#other = b
    b.#other = a
    return [a, b]
  }

  readonly remoteAddress = () => this.#remote
  readonly ended = () => this.#ended
  readonly traffic = () => ({
    streams: this.streams.size,
    streamsLeft: this.#streamsLeft,
    roundTripMillis: 2 * (this.#link?.delayMillis() ?? 0),
    bytesSent: this.#bytesSent,
    bytesReceived: this.#other!.#bytesSent,
    bytesWaiting: 0
  })

  readonly close = (code: number, text: string) => Effect.sync(() => this.closeWith(code, text))

  get open(): Effect.Effect<TransportStream, TransportError> {
    return this.#wait<TransportStream>((found) => {
      const opener = () => {
        const [ours] = MemoryStream.pair(this, this.#other!)
        this.streams.add(ours)
        found(ours)
      }
      if (this.#streamsLeft > 0) opener()
      else this.#openers.push(opener)
      return () => remove(this.#openers, opener)
    })
  }

  get #streamsLeft(): number {
    return Math.max(0, this.#endpoint.options.maxStreams - this.streams.size)
  }

  get accept(): Effect.Effect<TransportStream, TransportError> {
    return this.#wait<TransportStream>((found) => {
      const waiting = this.#arrived.shift()
      if (waiting !== undefined) found(waiting)
      else this.#acceptors.push(found)
      return () => remove(this.#acceptors, found)
    })
  }

  get closed(): Effect.Effect<Closed | Lost> {
    return Effect.callback((resume) => {
      if (this.#ended !== undefined) {
        resume(Effect.succeed(this.#ended))
        return
      }
      const ender = (reason: Closed | Lost) => resume(Effect.succeed(reason))
      this.#enders.add(ender)
      return Effect.sync(() => this.#enders.delete(ender))
    })
  }

  get probe(): Effect.Effect<number, TransportError> {
    return this.#wait<number>((found) => {
      const began = performance.now()
      this.carry(() => this.#other?.carry(() => found(performance.now() - began)))
      return () => {}
    })
  }

  carry(deliver: () => void): void {
    const link = this.#link
    if (link === undefined) {
      deliver()
      return
    }
    if (link.cut(this.carrier)) {
      this.#silence()
      return
    }
    // One timer for each piece, but each timer delivers the oldest piece: delays vary, the order does not.
    this.#underWay.push(deliver)
    this.timers++
    setTimeout(() => {
      this.timers--
      const next = this.#underWay.shift()
      if (link.cut(this.carrier)) this.#silence()
      else next?.()
    }, link.delayMillis())
  }

  sent(bytes: number): void {
    this.#bytesSent += bytes
  }

  begin(stream: MemoryStream): void {
    this.carry(() => this.#other!.#arrive(stream.other))
  }

  release(stream: MemoryStream): void {
    this.streams.delete(stream)
    if (this.#streamsLeft > 0) this.#openers.shift()?.()
  }

  closeWith(code: number, text: string): void {
    if (this.#ended !== undefined) return
    const cut = this.#link?.cut(this.carrier) ?? false
    this.#end(new Closed({ by: "local", code, application: true, text }))
    if (!cut) this.#other!.#end(new Closed({ by: "peer", code, application: true, text }))
  }

  #arrive(stream: MemoryStream): void {
    if (this.#ended !== undefined) return
    this.streams.add(stream)
    const acceptor = this.#acceptors.shift()
    if (acceptor !== undefined) acceptor(stream)
    else if (this.#arrived.length < ACCEPT_STREAMS) this.#arrived.push(stream)
    else stream.destroy()
  }

  #silence(): void {
    this.#noticeSilence()
    this.#other!.#noticeSilence()
  }

  /** Nothing passes any more: after the idle timeout this end knows. */
  #noticeSilence(): void {
    if (this.#ended !== undefined || this.#idle !== undefined) return
    this.timers++
    this.#idle = setTimeout(() => {
      this.timers--
      this.#end(new Lost())
    }, this.#endpoint.options.idleTimeoutMillis)
  }

  #wait<A>(begin: (found: (value: A) => void) => () => void): Effect.Effect<A, TransportError> {
    return Effect.callback((resume) => {
      if (this.#ended !== undefined) {
        resume(Effect.fail(fail(this.#ended)))
        return
      }
      const ender = (reason: Closed | Lost) => resume(Effect.fail(fail(reason)))
      this.#enders.add(ender)
      const withdraw = begin((value) => {
        this.#enders.delete(ender)
        resume(Effect.succeed(value))
      })
      return Effect.sync(() => {
        this.#enders.delete(ender)
        withdraw()
      })
    })
  }

  #end(reason: Closed | Lost): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    clearTimeout(this.#idle)
    this.#endpoint.connections.delete(this)
    const error = fail(reason)
    for (const stream of [...this.streams]) stream.connectionEnded(error)
    this.streams.clear()
    this.#arrived.length = 0
    this.#acceptors.length = 0
    this.#openers.length = 0
    for (const ender of this.#enders) ender(reason)
    this.#enders.clear()
  }
}

const remove = <A>(list: Array<A>, item: A): void => {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
