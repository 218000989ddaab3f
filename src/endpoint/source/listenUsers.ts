/**
 * How users come to a source: over TCP, TLS or a Unix domain socket. What is handed on is a stream of their bytes, with what
 * is known of them; over TLS when the handshake is done, and a certificate was shown where one is asked for.
 *
 * Handshakes have a deadline, and there is a bound on those that are not done; newcomers above it are reset.
 */
import type { Server, Socket } from "node:net"
import { createServer as createTlsServer, type PeerCertificate, type TLSSocket } from "node:tls"
import { Effect, Redacted, type Scope } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import { format } from "../../domain/EndpointUrl.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { abort } from "../../internal/abort.ts"
import { resettable } from "../../internal/resettable.ts"
import { listenTcp } from "../../internal/tcp.ts"
import { listenUnix } from "../../internal/unix.ts"
import { EndpointError, ListenFailed, SocketUnavailable, UserNotSecured } from "../EndpointError.ts"
import type { TlsFacts, User, UserAddress } from "./User.ts"

/** Where to listen, with what TLS needs. */
export type Listen =
  | { readonly _tag: "tcp"; readonly host: string; readonly port: number }
  | { readonly _tag: "unix"; readonly path: string }
  | TlsListen

export interface TlsListen {
  readonly _tag: "tls"
  readonly host: string
  readonly port: number
  readonly identity: Identity
  /** Users must show a certificate that leads to one of these roots (PEM); undefined: they are not asked. */
  readonly authorities: ReadonlyArray<string> | undefined
  /** Protocols to agree on one of (ALPN), the best one first; undefined: that is not spoken of. */
  readonly protocols?: ReadonlyArray<string> | undefined
}

/** What becomes of those who come. */
export interface Reception {
  readonly come: (user: User) => void
  /** TLS with somebody failed. */
  readonly failed: (error: EndpointError) => void
}

/** Listens until the Scope ends. Who has come is not touched by its end. Where it listens, as text. */
export const listenUsers = (
  endpoint: string,
  listen: Listen,
  reception: Reception
): Effect.Effect<string, EndpointError, Scope.Scope> => {
  if (listen._tag === "unix") return listenOnPath(endpoint, listen.path, reception)
  if (listen._tag === "tls") {
    return Effect.flatMap(securing(listen, reception), (secure) => listenOnPort(endpoint, listen, secure))
  }
  return listenOnPort(endpoint, listen, (socket) =>
    reception.come({ stream: socket, facts: { ...ends(socket), tls: undefined } })
  )
}

const listenOnPort = (
  endpoint: string,
  { host, port }: { readonly host: string; readonly port: number },
  accepted: (socket: Socket) => void
) =>
  listenTcp({ host, port }, (socket) => {
    // The other side can cause one at any time, also while nobody listens yet.
    socket.on("error", () => {})
    accepted(socket)
  }).pipe(
    Effect.mapError((error) => {
      const address = SocketAddress.format({ host: host || "*", port })
      return new EndpointError({ reason: new ListenFailed({ endpoint, address, code: error.code ?? error.message }) })
    }),
    Effect.map(boundAddress)
  )

const boundAddress = (server: Server) => {
  const bound = server.address() as { readonly address: string; readonly port: number }
  return SocketAddress.format({ host: bound.address, port: bound.port })
}

const listenOnPath = (endpoint: string, path: string, { come }: Reception) => {
  const facts = { source: { _tag: "unix", path: "" }, destination: { _tag: "unix", path }, tls: undefined } as const
  return listenUnix(path, (socket) => {
    socket.on("error", () => {})
    come({ stream: socket, facts })
  }).pipe(
    Effect.mapError(({ code }) => new EndpointError({ reason: new SocketUnavailable({ endpoint, path, code }) })),
    Effect.as(format({ _tag: "unix", path }))
  )
}

/** A handshake that takes longer is given up. */
const HANDSHAKE_MILLIS = 10_000

const MAX_HANDSHAKES = 1_024

/** Makes TLS of connections. What is under way is cut with the Scope. */
const securing = ({ identity, authorities, protocols }: TlsListen, { come, failed }: Reception) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const newcomers = new Map<Socket, string | undefined>()
        const server = createTlsServer({
          cert: identity.certificatePem,
          key: Redacted.value(identity.privateKeyPem),
          handshakeTimeout: HANDSHAKE_MILLIS,
          ...(protocols !== undefined && { ALPNProtocols: [...protocols] }),
          ...(authorities !== undefined && { ca: [...authorities], requestCert: true, rejectUnauthorized: true })
        })
        server.on("secureConnection", (socket: TLSSocket) => {
          const connection = connectionOf(socket)
          newcomers.delete(connection)
          socket.on("error", () => {})
          come({ stream: resettable(socket, connection), facts: { ...ends(socket), tls: tlsFacts(socket) } })
        })
        server.on("tlsClientError", ({ code, message }: NodeJS.ErrnoException, socket) => {
          newcomers.set(connectionOf(socket), code ?? message)
          socket.destroy()
        })
        const secure = (connection: Socket) => {
          if (newcomers.size >= MAX_HANDSHAKES) return abort(connection)
          newcomers.set(connection, undefined)
          const from = ends(connection).source
          connection.once("close", () => {
            if (!newcomers.has(connection)) return
            const told = newcomers.get(connection) ?? "ECONNRESET"
            const code = told === "ECONNRESET" && authorities !== undefined ? NOT_ACCEPTED : told
            newcomers.delete(connection)
            failed(new EndpointError({ reason: new UserNotSecured({ address: text(from), code }) }))
          })
          server.emit("connection", connection)
        }
        return { secure, newcomers }
      }),
      ({ newcomers }) =>
        Effect.sync(() => {
          const open = [...newcomers.keys()]
          newcomers.clear()
          for (const connection of open) connection.destroy()
        })
    ),
    ({ secure }) => secure
  )

/** Node tells no difference. */
const NOT_ACCEPTED = "he went away, or his certificate leads to none of the roots in cas-file"

/** The connection that a socket of TLS was made on. */
const connectionOf = (socket: TLSSocket): Socket => (socket as unknown as { readonly _parent: Socket })._parent

const ends = (socket: Socket): { readonly source: UserAddress; readonly destination: UserAddress } => ({
  source: end(socket.remoteAddress, socket.remotePort),
  destination: end(socket.localAddress, socket.localPort)
})

/** A socket whose other end is gone already has none. */
const end = (host: string | undefined, port: number | undefined): UserAddress =>
  host === undefined || port === undefined ? { _tag: "unknown" } : { _tag: "tcp", host, port }

const text = (address: UserAddress): string =>
  address._tag === "tcp"
    ? SocketAddress.format({ host: SocketAddress.unmapped(address.host), port: address.port })
    : "an unknown address"

const tlsFacts = (socket: TLSSocket): TlsFacts => {
  const certificate: Partial<PeerCertificate> = socket.getPeerCertificate() ?? {}
  return {
    version: socket.getProtocol() ?? "",
    cipher: socket.getCipher().name,
    serverName: (socket as { readonly servername?: string | false }).servername || undefined,
    protocol: socket.alpnProtocol || undefined,
    certificate:
      certificate.subject === undefined
        ? undefined
        : {
            // Of several the last one is the narrowest.
            commonName: [certificate.subject.CN ?? []].flat().at(-1),
            shown: socket.isSessionReused() ? "session" : "connection",
            verified: socket.authorized
          }
  }
}
