/**
 * One TCP port, and the connections that were accepted there or dialed beside it. It owns newcomers until they are
 * connections, connections until they end, and their sockets until they are closed.
 *
 * A connection begins with TLS. Then the dialer says with one byte which end opens streams at no cost, that is, who is the
 * HTTP/2 client, and both begin to speak HTTP/2.
 */
import { createServer, type Server, type Socket } from "node:net"
import { connect, type ConnectionOptions as DialOptions, type TLSSocket, type Server as TlsServer } from "node:tls"
import * as SocketAddress from "../../../domain/SocketAddress.ts"
import { Closed } from "../../TransportError.ts"
import {
  BACKLOG,
  CLOSE_MILLIS,
  type Credit,
  HANDSHAKE_MILLIS,
  LINGER_MILLIS,
  MAX_HALF_OPEN,
  MAX_TICK_MILLIS
} from "./limits.ts"
import { type ConnectionHost, type ConnectionOptions, type EndReason, TcpConnection } from "./TcpConnection.ts"

/** The first byte of a dialer. */
const DIALER_OPENS = 0x44
const LISTENER_OPENS = 0x4c

/** What happens to those who connect. */
export interface Newcomers {
  readonly tls: TlsServer
  readonly credit: Credit
  /** False for the IP address of whoever is refused. */
  readonly admits: ((host: string) => boolean) | undefined
  readonly opened: (connection: TcpConnection) => void
}

export interface Dial {
  readonly tls: DialOptions
  readonly opener: "dialer" | "listener"
  readonly credit: Credit
  /** Called after the TLS handshake; false ends the connection. */
  readonly trusts: (socket: TLSSocket) => boolean
  readonly opened: (connection: TcpConnection) => void
  readonly failed: (why: NodeJS.ErrnoException | EndReason) => void
}

export class TcpSocket implements ConnectionHost {
  readonly address: SocketAddress.SocketAddress
  readonly #server: Server
  #listening: Newcomers | undefined
  readonly #idleTimeoutMillis: number
  readonly #tickMillis: number
  readonly #connections = new Set<TcpConnection>()
  /** Sockets that have not become a connection, by the address of the other end. */
  readonly #newcomers = new Map<string, Watched>()
  /** Sockets of connections that are over. */
  readonly #leaving = new Map<Socket, Watched>()
  #ticker: NodeJS.Timeout | undefined
  #closed = false

  private constructor(server: Server, idleTimeoutMillis: number) {
    const { address, port } = server.address() as { address: string; port: number }
    this.address = { host: address, port }
    this.#server = server
    this.#idleTimeoutMillis = idleTimeoutMillis
    this.#tickMillis = Math.min(MAX_TICK_MILLIS, idleTimeoutMillis / 8)
    server.on("error", ignore)
    server.on("connection", (socket) => this.#receive(socket))
  }

  /** Rejects with the system's error. */
  static bind({ host, port }: SocketAddress.SocketAddress, idleTimeoutMillis: number): Promise<TcpSocket> {
    return new Promise((resolve, reject) => {
      const server = createServer({ noDelay: true })
      server.once("error", reject)
      server.listen({ host, port, backlog: BACKLOG }, () => {
        server.off("error", reject)
        resolve(new TcpSocket(server, idleTimeoutMillis))
      })
    })
  }

  get counts() {
    let streams = 0
    for (const connection of this.#connections) streams += connection.streamCount
    return { connections: this.#connections.size, streams, timers: this.#ticker === undefined ? 0 : 1 }
  }

  /** What happens to newcomers from now on; undefined while nobody listens: then they are closed. */
  welcome(newcomers: Newcomers | undefined): void {
    this.#listening = newcomers
    newcomers?.tls.on("secureConnection", (socket) => this.#secured(socket, newcomers))
    newcomers?.tls.on("tlsClientError", (_, socket) => socket.destroy())
  }

  /** The result gives up. */
  dial({ tls, opener, credit, trusts, opened, failed }: Dial): () => void {
    let connection: TcpConnection | undefined
    const socket = connect(tls)
    socket.setNoDelay(true)
    socket.on("error", failed)
    const closed = () => failed(new Error("the connection was closed"))
    socket.once("close", closed)
    socket.once("secureConnect", () => {
      if (!trusts(socket)) {
        socket.destroy()
        return
      }
      const peerCertificate = socket.getPeerX509Certificate()?.raw
      const part = opener === "dialer" ? "client" : "server"
      // The session writes past the socket, so this write must be over.
      socket.write(Buffer.of(opener === "dialer" ? DIALER_OPENS : LISTENER_OPENS), () => {
        const begun = this.#begin({ socket, peerCertificate, part, credit })
        if (begun === undefined) {
          socket.destroy()
          return
        }
        connection = begun
        socket.off("close", closed)
        begun.opened = () => opened(begun)
        begun.onEnd(failed)
      })
    })
    return () => {
      connection?.end(new Closed({ by: "local", code: 0, application: false, text: "given up" }))
      socket.destroy()
    }
  }

  forget(connection: TcpConnection): void {
    this.#connections.delete(connection)
    this.#leave(connection.socket)
    this.#stopTickerWhenIdle()
  }

  /** Closes everything, and gives the farewells a moment to be read. */
  async close(): Promise<void> {
    this.#closed = true
    this.#listening = undefined
    const closed = new Promise((resolve) => this.#server.close(resolve))
    for (const { socket } of this.#newcomers.values()) socket.destroy()
    for (const connection of [...this.#connections]) connection.close(0, "")
    const leaving = [...this.#leaving.keys()]
    const deadline = setTimeout(() => {
      for (const socket of leaving) socket.destroy()
    }, CLOSE_MILLIS)
    await Promise.all([closed, ...leaving.map(gone)])
    clearTimeout(deadline)
    this.#stopTicker()
  }

  #secured(socket: TLSSocket, { credit, opened }: Newcomers): void {
    socket.on("error", ignore)
    const key = keyOf(socket)
    const peerCertificate = socket.getPeerX509Certificate()?.raw
    const first = () => {
      const byte: Buffer | null = socket.read(1)
      if (byte === null) return
      socket.off("readable", first)
      const part = byte[0] === DIALER_OPENS ? "server" : byte[0] === LISTENER_OPENS ? "client" : undefined
      const connection = part && this.#begin({ socket, peerCertificate, part, credit })
      if (connection === undefined) {
        socket.destroy()
        return
      }
      connection.opened = () => {
        this.#newcomers.delete(key)
        opened(connection)
      }
    }
    socket.on("readable", first)
  }

  #receive(socket: Socket): void {
    socket.on("error", ignore)
    const newcomers = this.#listening
    const refused = newcomers?.admits?.(SocketAddress.unmapped(socket.remoteAddress ?? "")) === false
    if (newcomers === undefined || refused || this.#newcomers.size >= MAX_HALF_OPEN) {
      socket.destroy()
      return
    }
    const key = keyOf(socket)
    this.#newcomers.set(key, { socket, millisLeft: HANDSHAKE_MILLIS })
    socket.once("close", () => {
      this.#newcomers.delete(key)
      this.#stopTickerWhenIdle()
    })
    this.#startTicker()
    newcomers.tls.emit("connection", socket)
  }

  #begin(options: Omit<ConnectionOptions, "host" | "idleTimeoutMillis">): TcpConnection | undefined {
    if (options.socket.destroyed || this.#closed) return undefined
    const connection = new TcpConnection({ ...options, host: this, idleTimeoutMillis: this.#idleTimeoutMillis })
    this.#connections.add(connection)
    this.#startTicker()
    return connection
  }

  #leave(socket: Socket): void {
    if (socket.destroyed) return
    this.#leaving.set(socket, { socket, millisLeft: LINGER_MILLIS })
    socket.once("close", () => {
      this.#leaving.delete(socket)
      this.#stopTickerWhenIdle()
    })
  }

  readonly #tick = (): void => {
    for (const connection of [...this.#connections]) connection.tick(this.#tickMillis)
    for (const watched of [...this.#newcomers.values(), ...this.#leaving.values()]) {
      watched.millisLeft -= this.#tickMillis
      if (watched.millisLeft <= 0) watched.socket.destroy()
    }
    this.#stopTickerWhenIdle()
  }

  #startTicker(): void {
    this.#ticker ??= setInterval(this.#tick, this.#tickMillis)
  }

  #stopTickerWhenIdle(): void {
    if (this.#connections.size + this.#newcomers.size + this.#leaving.size === 0) this.#stopTicker()
  }

  #stopTicker(): void {
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }
}

interface Watched {
  readonly socket: Socket
  millisLeft: number
}

const ignore = (): void => {}

/** A socket and the TLS socket around it have the same. */
const keyOf = (socket: Socket): string => `${socket.remoteAddress} ${socket.remotePort}`

const gone = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once("close", () => resolve()))
