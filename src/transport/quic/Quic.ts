/**
 * `Transport` over QUIC version 1 (RFC 9000) on UDP: the native quiche driven by the plain TypeScript in `internal/`.
 * This file is the border between that driver and Effect: sockets and connections in Scopes, errors typed.
 */
import { randomBytes } from "node:crypto"
import { Duration, Effect, Layer, Redacted } from "effect"
import type { CongestionControl } from "../../domain/CongestionControl.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { connectionOf } from "../connectionOf.ts"
import { Listeners } from "../Listeners.ts"
import { type BindOptions, type Connection, type DialTarget, type Endpoint, Transport } from "../Transport.ts"
import {
  BindFailed,
  CertificateMissing,
  DialTimedOut,
  HandshakeFailed,
  ProtocolRefused,
  Refused,
  TransportError,
  type TransportReason
} from "../TransportError.ts"
import { refusal, serverName } from "../Trust.ts"
import { CONNECTION_REFUSED } from "./internal/initialClose.ts"
import { IDLE_TIMEOUT_MILLIS, PEER_CREDIT, SOCKET_BUFFER_BYTES, STRANGER_CREDIT } from "./internal/limits.ts"
import { loadNative, type Native } from "./internal/native.ts"
import { nativeConfig } from "./internal/nativeConfig.ts"
import type { EndReason, QuicConnection } from "./internal/QuicConnection.ts"
import { QuicSocket, type SocketOptions } from "./internal/QuicSocket.ts"
import { watchDrops } from "./socketDrops.ts"

export interface QuicOptions {
  /** Default `bbr`: on a path of 40 ms with 1 % loss it moves seven times what `cubic` does. */
  readonly congestionControl?: CongestionControl
  /** After this long without a sign of life a connection is lost. Default 20,000; the smaller one of both ends counts. */
  readonly idleTimeoutMillis?: number
  /** Buffers of the UDP socket, in bytes. Default 7 MiB each; the system may grant less. */
  readonly receiveBufferBytes?: number
  readonly sendBufferBytes?: number
  /**
   * 32 bytes that survive a restart: then peers which still send to connections of before are told at once that these are
   * gone. Default random, which does the same within one process.
   */
  readonly resetKey?: Redacted.Redacted<Uint8Array>
}

const RESET_KEY_BYTES = 32

/** TLS alerts (RFC 8446 §6.2) as QUIC transport error codes (RFC 9001 §4.8). */
const ALERT_BAD_CERTIFICATE = 0x100 + 42
const ALERT_CERTIFICATE_EXPIRED = 0x100 + 45
const ALERT_CERTIFICATE_REQUIRED = 0x100 + 116
const ALERT_NO_APPLICATION_PROTOCOL = 0x100 + 120

const fail = (reason: TransportReason) => new TransportError({ reason })

export const layer = (options: QuicOptions = {}) =>
  Layer.effect(
    Transport,
    Effect.map(Effect.tryPromise({ try: loadNative, catch: (error) => error as TransportError }), (native) => {
      const settings: Settings = {
        congestionControl: "bbr",
        idleTimeoutMillis: IDLE_TIMEOUT_MILLIS,
        receiveBufferBytes: SOCKET_BUFFER_BYTES,
        sendBufferBytes: SOCKET_BUFFER_BYTES,
        resetKey: Redacted.make(randomBytes(RESET_KEY_BYTES)),
        ...options
      }
      return Transport.of({ bind: (bindOptions) => bind(native, settings, bindOptions) })
    })
  )

type Settings = Required<QuicOptions>

const bind = Effect.fnUntraced(function* (native: Native, settings: Settings, { address, admits }: BindOptions) {
  const socket = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => openSocket(native, address, { ...settings, resetKey: Redacted.value(settings.resetKey) }),
      catch: (error) =>
        fail(
          new BindFailed({
            address: SocketAddress.format(address),
            code: (error as NodeJS.ErrnoException).code ?? String(error)
          })
        )
    }),
    (socket) => Effect.promise(() => socket.close())
  )
  const { receiveBufferBytes: wantedBytes } = settings
  yield* Effect.forkScoped(
    watchDrops({ address: socket.address, wantedBytes, grantedBytes: socket.receiveBufferBytes })
  )
  return makeEndpoint(native, settings, socket, admits)
})

/** `::` takes both families; on a system without IPv6 it means all of IPv4. */
const openSocket = (
  native: Native,
  address: SocketAddress.SocketAddress,
  options: SocketOptions
): Promise<QuicSocket> =>
  QuicSocket.bind(native, address, options).catch((error: NodeJS.ErrnoException) => {
    if (address.host !== "::" || error.code !== "EAFNOSUPPORT") throw error
    return QuicSocket.bind(native, { host: "0.0.0.0", port: address.port }, options)
  })

const makeEndpoint = (
  native: Native,
  settings: Settings,
  socket: QuicSocket,
  admits: BindOptions["admits"]
): Endpoint => {
  const listeners: Listeners<QuicConnection> = new Listeners({
    close: (connection, code, text) => connection.close(code, text),
    toConnection: makeConnection,
    // quiche has one certificate and one list of protocols for all who arrive; who may enter is decided after that.
    changed: () => {
      const all = listeners.common
      socket.newcomers = all && {
        config: nativeConfig(native, {
          ...settings,
          ...all,
          credit: all.trust._tag === "Anyone" ? STRANGER_CREDIT : PEER_CREDIT
        }),
        admits,
        arrived: (connection) => {
          connection.opened = () => listeners.enter(connection, protocolOf(connection), peerCertificate(connection))
        }
      }
    }
  })

  return {
    address: socket.address,
    carriers: ["quic"],
    dial: (target) => dial(native, settings, socket, target),
    listen: (listenOptions) => listeners.listen(listenOptions),
    renew: (identity) => listeners.renew(identity),
    datagrams: {
      send: (to, bytes) => Effect.sync(() => socket.send(to, bytes)),
      receive: Effect.callback((resume) => {
        const take = () => {
          const next = socket.datagrams.shift()
          if (next === undefined) return false
          socket.datagramArrived = undefined
          resume(Effect.succeed(next))
          return true
        }
        if (!take()) socket.datagramArrived = take
        return Effect.sync(() => {
          if (socket.datagramArrived === take) socket.datagramArrived = undefined
        })
      })
    },
    counts: () => ({ ...socket.counts, listeners: listeners.size })
  }
}

const dial = Effect.fnUntraced(function* (native: Native, settings: Settings, socket: QuicSocket, target: DialTarget) {
  const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(target.timeout))
  const config = nativeConfig(native, {
    ...settings,
    protocols: target.protocols,
    identity: target.identity,
    trust: target.trust,
    credit: PEER_CREDIT
  })
  const connection = yield* Effect.acquireRelease(
    Effect.sync(() => socket.connect(serverName(target.trust), target.address, config)),
    (connection) => Effect.sync(() => connection.close(0, ""))
  )
  yield* handshake(connection, target).pipe(
    Effect.timeoutOrElse({
      duration: timeoutMillis,
      orElse: () => Effect.fail(fail(new DialTimedOut({ afterMillis: timeoutMillis })))
    })
  )
  return makeConnection(connection)
})

const handshake = (connection: QuicConnection, target: DialTarget) =>
  Effect.callback<void, TransportError>((resume) => {
    const withdraw = connection.onEnd((reason) => resume(Effect.fail(fail(whyNotOpened(connection, target, reason)))))
    connection.opened = () => {
      withdraw()
      const chainTrusted = target.trust._tag === "Authorities"
      const refused = refusal(target.trust, peerCertificate(connection), new Date(), chainTrusted)
      if (refused === undefined) {
        resume(Effect.void)
        return
      }
      const alert = refused._tag === "CertificateExpired" ? ALERT_CERTIFICATE_EXPIRED : ALERT_BAD_CERTIFICATE
      connection.close(alert, "", false)
      resume(Effect.fail(fail(refused)))
    }
    return Effect.sync(withdraw)
  })

/** The reason for a handshake that failed, from what is left of it. */
const whyNotOpened = (connection: QuicConnection, target: DialTarget, ended: EndReason): TransportReason => {
  if (ended._tag === "Lost") return ended
  if (ended.code === ALERT_NO_APPLICATION_PROTOCOL) return new ProtocolRefused({ offered: [...target.protocols] })
  if (ended.by === "peer" && !ended.application && ended.code === CONNECTION_REFUSED) return new Refused()
  if (ended.code === ALERT_CERTIFICATE_REQUIRED) return new CertificateMissing()
  if (ended.by === "local") {
    const refused = refusal(target.trust, peerCertificate(connection), new Date())
    if (refused !== undefined) return refused
  }
  return ended.application ? ended : new HandshakeFailed({ detail: `code ${ended.code} from the ${endName(ended.by)}` })
}

const endName = (by: "local" | "peer") => (by === "local" ? "dialing end" : "listening end")

const protocolOf = (connection: QuicConnection): string => Buffer.from(connection.native.applicationProto()).toString()

const peerCertificate = (connection: QuicConnection): Uint8Array | undefined => connection.native.peerCertChain()?.[0]

const makeConnection = (connection: QuicConnection): Connection => {
  const { native } = connection
  return {
    carrier: "quic",
    protocol: protocolOf(connection),
    peerCertificate: peerCertificate(connection),
    localAddress: connection.local,
    remoteAddress: () => connection.remoteAddress(),
    ...connectionOf(connection),
    traffic: () => {
      const { sentBytes, recvBytes } = native.stats()
      const { streamCount, streamsLeft } = connection
      return {
        streams: streamCount,
        streamsLeft,
        roundTripMillis: connection.activePath()?.rtt,
        bytesSent: sentBytes,
        bytesReceived: recvBytes,
        bytesWaiting: 0
      }
    }
  }
}
