/**
 * The connections to an HTTP service: kept for the next request, bounded in number, dialed within a deadline. A connection
 * can be dialed before there is a request for it, so that a service that is not there is known in time.
 */
import { Agent, type ClientRequestArgs } from "node:http"
import { connect, isIP, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from "node:tls"
import type { HostPort } from "../../internal/tcp.ts"
import { contextOf, type ServiceTls } from "../destination/dialService.ts"

/** The code of a connection that was not there in time. */
export const DIAL_TIMED_OUT = "EDIALTIMEDOUT"

export class ServiceAgent extends Agent {
  readonly #service: HostPort
  readonly #tls: Pick<ConnectionOptions, "secureContext" | "rejectUnauthorized"> | undefined
  readonly #dialMillis: number
  readonly #ready: Array<Socket> = []
  #session: Buffer | undefined

  constructor(service: HostPort, tls: ServiceTls | undefined, dialMillis: number) {
    super({
      keepAlive: true,
      maxSockets: MAX_SOCKETS,
      maxFreeSockets: MAX_FREE,
      timeout: FREE_MILLIS,
      scheduling: "lifo"
    })
    this.#service = service
    this.#tls = tls && { secureContext: contextOf(tls), rejectUnauthorized: tls.trust !== "anyone" }
    this.#dialMillis = dialMillis
  }

  override createConnection(_options: ClientRequestArgs): Duplex {
    return this.#ready.pop() ?? this.dial(false)
  }

  /** Whether a connection waits for a request already. */
  get isReached(): boolean {
    return this.#ready.length > 0 || Object.values(this.freeSockets).some((sockets) => (sockets?.length ?? 0) > 0)
  }

  /** Keeps a connection that was dialed ahead for the next request. */
  keep(socket: Socket): void {
    const drop = () => {
      const at = this.#ready.indexOf(socket)
      if (at < 0) return
      this.#ready.splice(at, 1)
      socket.destroy()
    }
    this.#ready.push(socket)
    socket.once("end", drop).once("close", drop)
    setTimeout(drop, READY_MILLIS).unref()
  }

  /** A connection that is being made; it fails with the system's error, or with `DIAL_TIMED_OUT`. */
  dial(allowHalfOpen: boolean): Socket {
    const { host, port } = this.#service
    const socket =
      this.#tls === undefined
        ? connect({ host, port, noDelay: true, allowHalfOpen, keepAlive: true, keepAliveInitialDelay: 30_000 })
        : this.#dialTls(allowHalfOpen)
    const late = () => socket.destroy(Object.assign(new Error("timed out"), { code: DIAL_TIMED_OUT }))
    const timer = setTimeout(late, this.#dialMillis)
    const done = () => clearTimeout(timer)
    return socket.once(this.#tls === undefined ? "connect" : "secureConnect", done).once("close", done)
  }

  override destroy(): void {
    for (const socket of this.#ready.splice(0)) socket.destroy()
    super.destroy()
  }

  #dialTls(allowHalfOpen: boolean): TLSSocket {
    const { host, port } = this.#service
    // Node knows `allowHalfOpen` here, its types do not.
    const options: ConnectionOptions & { allowHalfOpen: boolean } = {
      host,
      port,
      allowHalfOpen,
      ...(isIP(host) === 0 && { servername: host }),
      ALPNProtocols: ["http/1.1"],
      ...this.#tls,
      ...(this.#session !== undefined && { session: this.#session })
    }
    return connectTls(options).on("session", (session) => {
      this.#session = session
    })
  }
}

const MAX_SOCKETS = 256
const MAX_FREE = 64
/** Shorter than the 60 s and more after which common servers close; a hint of the service shortens it. */
const FREE_MILLIS = 55_000
/** A service need not wait long for the first request of a connection. */
const READY_MILLIS = 4_000
