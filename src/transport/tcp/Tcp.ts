/**
 * `Transport` over TCP, for networks that let no UDP pass: TLS 1.3, and HTTP/2 (RFC 9113) for the streams, both Node's own,
 * driven by the plain TypeScript in `internal/`. This file is the border between that and Effect: sockets and connections
 * in Scopes, errors typed.
 *
 * A dial leaves from any free port, because a port that listens cannot dial.
 */
import type { Socket } from "node:net"
import { createServer, getCACertificates, type TLSSocket, type ConnectionOptions as TlsOptions } from "node:tls"
import { Duration, Effect, Layer, Redacted } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import type { Proxy } from "../../domain/Proxy.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { connectionOf } from "../connectionOf.ts"
import { Listeners } from "../Listeners.ts"
import {
  type BindOptions,
  type Connection,
  type Datagrams,
  type DialTarget,
  type Endpoint,
  type ListenOptions,
  Transport
} from "../Transport.ts"
import {
  BindFailed,
  DialTimedOut,
  HandshakeFailed,
  ProtocolRefused,
  Refused,
  TransportError,
  type TransportReason,
  Unreachable
} from "../TransportError.ts"
import { refusal, serverName, type Trust } from "../Trust.ts"
import { connectThrough } from "./connectThrough.ts"
import { DatagramSocket } from "./internal/DatagramSocket.ts"
import { IDLE_TIMEOUT_MILLIS, PEER_CREDIT, STRANGER_CREDIT } from "./internal/limits.ts"
import type { EndReason, TcpConnection } from "./internal/TcpConnection.ts"
import { TcpSocket } from "./internal/TcpSocket.ts"

export interface TcpOptions {
  /** After this long without a byte a connection is lost. Default 20,000. */
  readonly idleTimeoutMillis?: number
  /**
   * Whether raw datagrams pass on the UDP port of the same number. Default true; false where something else owns that
   * port: then what is sent is dropped, and nothing is received.
   */
  readonly datagrams?: boolean
  /** Buffers of that UDP socket, in bytes. Default: the system's; it may grant less. */
  readonly receiveBufferBytes?: number
  readonly sendBufferBytes?: number
}

/** Free TCP ports that are tried until one is free for UDP, too. */
const PORT_ATTEMPTS = 16

const fail = (reason: TransportReason) => new TransportError({ reason })

export const layer = (options: TcpOptions = {}) =>
  Layer.succeed(Transport, Transport.of({ bind: (bindOptions) => bind(options, bindOptions) }))

interface Sockets {
  readonly tcp: TcpSocket
  readonly udp: DatagramSocket | undefined
}

const bind = Effect.fnUntraced(function* (options: TcpOptions, { address, admits }: BindOptions) {
  const { tcp, udp } = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => openSockets(options, address),
      catch: (error) =>
        fail(
          new BindFailed({
            address: SocketAddress.format(address),
            code: (error as NodeJS.ErrnoException).code ?? String(error)
          })
        )
    }),
    ({ tcp, udp }) => Effect.promise(() => Promise.all([tcp.close(), udp?.close()]))
  )
  return makeEndpoint(tcp, udp, admits)
})

/** `::` takes both families; on a system without IPv6 it means all of IPv4. */
const openSockets = (options: TcpOptions, address: SocketAddress.SocketAddress): Promise<Sockets> =>
  openPair(options, address).catch((error: NodeJS.ErrnoException) => {
    if (address.host !== "::" || (error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL")) throw error
    return openPair(options, { host: "0.0.0.0", port: address.port })
  })

const openPair = async (
  options: TcpOptions,
  address: SocketAddress.SocketAddress,
  attempts = PORT_ATTEMPTS
): Promise<Sockets> => {
  const tcp = await TcpSocket.bind(address, options.idleTimeoutMillis ?? IDLE_TIMEOUT_MILLIS)
  if (options.datagrams === false) return { tcp, udp: undefined }
  try {
    return { tcp, udp: await DatagramSocket.bind(tcp.address, options) }
  } catch (error) {
    await tcp.close()
    const taken = (error as NodeJS.ErrnoException).code === "EADDRINUSE"
    if (!taken || address.port !== 0 || attempts <= 1) throw error
    return openPair(options, address, attempts - 1)
  }
}

const makeEndpoint = (tcp: TcpSocket, udp: DatagramSocket | undefined, admits: BindOptions["admits"]): Endpoint => {
  const listeners: Listeners<TcpConnection> = new Listeners({
    close: (connection, code, text) => connection.close(code, text),
    toConnection: makeConnection,
    changed: () => {
      const all = listeners.common
      tcp.welcome(
        all && {
          tls: tlsServer(all),
          admits,
          credit: all.trust._tag === "Anyone" ? STRANGER_CREDIT : PEER_CREDIT,
          opened: (connection) => listeners.enter(connection, connection.protocol, connection.peerCertificate)
        }
      )
    }
  })
  return {
    address: tcp.address,
    carriers: ["tcp"],
    dial: (target) => dial(tcp, target),
    listen: (listenOptions) => listeners.listen(listenOptions),
    renew: (identity) => listeners.renew(identity),
    datagrams: udp === undefined ? noDatagrams : datagramsOf(udp),
    counts: () => ({ ...tcp.counts, listeners: listeners.size })
  }
}

const noDatagrams: Datagrams = { send: () => Effect.void, receive: Effect.never }

const datagramsOf = (udp: DatagramSocket): Datagrams => ({
  send: (to, bytes) => Effect.sync(() => udp.send(to, bytes)),
  receive: Effect.callback((resume) => Effect.sync(udp.receive((datagram) => resume(Effect.succeed(datagram)))))
})

/** Never listens itself: sockets are handed to it. Who may enter is decided after TLS, on the certificate alone. */
const tlsServer = ({ protocols, identity, trust }: ListenOptions) =>
  createServer({
    ...shown(identity),
    minVersion: "TLSv1.3",
    requestCert: trust._tag !== "Anyone",
    rejectUnauthorized: false,
    ALPNCallback: ({ protocols: offered }) => offered.find((protocol) => protocols.includes(protocol))
  })

const shown = ({ certificatePem, privateKeyPem }: Identity) => ({
  cert: certificatePem,
  key: Redacted.value(privateKeyPem)
})

const dial = (tcp: TcpSocket, target: DialTarget) => {
  const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(target.timeout))
  const { proxy } = target
  const reached = proxy === undefined ? handshake(tcp, target) : handshakeThrough(proxy, tcp, target)
  return reached.pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(fail(new DialTimedOut({ afterMillis: timeoutMillis })))
    }),
    (opening) =>
      Effect.acquireRelease(opening, (connection) => Effect.sync(() => connection.close(0, "")), {
        interruptible: true
      }),
    Effect.map(makeConnection)
  )
}

/** The socket to the proxy is gone when there is no connection. */
const handshakeThrough = (proxy: Proxy, tcp: TcpSocket, target: DialTarget) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(restore(connectThrough(proxy, target.address)), (socket) =>
      Effect.onError(restore(handshake(tcp, target, socket)), () => Effect.sync(() => socket.destroy()))
    )
  )

/** On a socket that leads to the target already, if there is one. */
const handshake = (tcp: TcpSocket, target: DialTarget, socket?: Socket) =>
  Effect.callback<TcpConnection, TransportError>((resume) => {
    let refused: TransportReason | undefined
    const giveUp = tcp.dial({
      tls: { ...tlsOptions(target), ...(socket !== undefined && { socket }) },
      opener: target.opener ?? "dialer",
      credit: PEER_CREDIT,
      trusts: (socket) => {
        refused = refusalOf(target, socket)
        return refused === undefined
      },
      opened: (connection) => resume(Effect.succeed(connection)),
      failed: (why) => resume(Effect.fail(fail(refused ?? whyNotOpened(target, why))))
    })
    return Effect.sync(giveUp)
  })

const tlsOptions = ({ address, protocols, trust, identity }: DialTarget): TlsOptions => {
  const name = serverName(trust)
  return {
    ...address,
    ...(identity !== undefined && shown(identity)),
    ...(name !== undefined && { servername: name }),
    ...(trust._tag === "Authorities" && { ca: [...rootsOf(trust)] }),
    ALPNProtocols: [...protocols],
    minVersion: "TLSv1.3",
    rejectUnauthorized: false,
    // Names are checked with everything else.
    checkServerIdentity: () => undefined
  }
}

const rootsOf = ({ roots }: Extract<Trust, { _tag: "Authorities" }>): ReadonlyArray<string> =>
  roots ?? getCACertificates("default")

const refusalOf = ({ protocols, trust }: DialTarget, socket: TLSSocket): TransportReason | undefined => {
  if (!socket.alpnProtocol) return new ProtocolRefused({ offered: [...protocols] })
  return refusal(trust, socket.getPeerX509Certificate()?.raw, new Date(), socket.authorized)
}

/** The reason for a dial that failed, from the system's error, TLS's alert, or the end of the connection. */
const whyNotOpened = (target: DialTarget, why: NodeJS.ErrnoException | EndReason): TransportReason => {
  if ("_tag" in why) {
    return why._tag === "Lost" || why.application ? why : new HandshakeFailed({ detail: why.text })
  }
  const { code = "", message, syscall } = why
  if (code.endsWith("ALERT_NO_APPLICATION_PROTOCOL")) return new ProtocolRefused({ offered: [...target.protocols] })
  if (syscall === "connect") return new Unreachable({ code })
  // What was closed before TLS said a word; an alert would have another code.
  return code === "ECONNRESET" || code === "EPIPE" ? new Refused() : new HandshakeFailed({ detail: code || message })
}

const makeConnection = (connection: TcpConnection): Connection => {
  return {
    carrier: "tcp",
    protocol: connection.protocol,
    peerCertificate: connection.peerCertificate,
    localAddress: connection.local,
    remoteAddress: () => connection.remote,
    ...connectionOf(connection),
    traffic: () => {
      const { streamCount: streams, streamsLeft, roundTripMillis, bytesSent, bytesReceived, bytesWaiting } = connection
      return { streams, streamsLeft, roundTripMillis, bytesSent, bytesReceived, bytesWaiting }
    }
  }
}
