/**
 * One connection: an HTTP/2 session on one end, streams and callbacks on the other.
 *
 * Only the HTTP/2 client can open streams. The streams of its server are spare ones that the client has opened ahead
 * (`StreamSupply` at the client, `StreamPool` at the server). Streams are told apart by their `:authority`: a client's own,
 * a spare one for the server, and the one control stream.
 *
 * Life: opening → open → ended. It is open when each end's settings have come to the other one: before that, HTTP/2 would
 * have windows that suit no one, and no limits. `ended` is reported exactly once, with a reason, and takes every stream with it.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type Http2Stream,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerStreamResponseOptions
} from "node:http2"
import type { TLSSocket } from "node:tls"
import * as SocketAddress from "../../../domain/SocketAddress.ts"
import { Closed, Lost, TransportError } from "../../TransportError.ts"
import { ControlStream } from "./ControlStream.ts"
import { closeText, fromWire, toWire } from "./codes.ts"
import { http2Options, RESERVED_STREAMS } from "./http2Options.ts"
import {
  ACCEPT_STREAMS,
  CONNECTION_BYTES,
  type Credit,
  KEEP_ALIVE_MILLIS,
  MAX_PINGS,
  MAX_SPARE_STREAMS
} from "./limits.ts"
import { StreamPool } from "./StreamPool.ts"
import { StreamSupply } from "./StreamSupply.ts"
import { resetCarrier, type StreamOwner, TcpStream } from "./TcpStream.ts"

/** What a connection needs from its socket. */
export interface ConnectionHost {
  /** The connection is over; its socket closes by itself, unless the other side does not let it. */
  forget(connection: TcpConnection): void
}

export interface ConnectionOptions {
  readonly host: ConnectionHost
  /** After its TLS handshake. */
  readonly socket: TLSSocket
  /** As it was shown in the handshake (DER): older versions of Node do not tell it for ever. */
  readonly peerCertificate: Uint8Array | undefined
  /** Which part this end has in HTTP/2, whoever dialed. */
  readonly part: "client" | "server"
  readonly credit: Credit
  readonly idleTimeoutMillis: number
}

export type EndReason = Closed | Lost

const OWN = { ":method": "CONNECT", ":authority": "stream" }
const SPARE = { ":method": "CONNECT", ":authority": "spare" }
const CONTROL = { ":method": "CONNECT", ":authority": "control" }
const ACCEPTED = { ":status": 200 }

export class TcpConnection implements StreamOwner {
  readonly credit: Credit
  readonly protocol: string
  readonly peerCertificate: Uint8Array | undefined
  readonly local: SocketAddress.SocketAddress
  readonly remote: SocketAddress.SocketAddress
  readonly socket: TLSSocket
  /** Called when the connection is open. */
  opened: (() => void) | undefined
  state: "opening" | "open" | "ended" = "opening"
  endReason: EndReason | undefined
  /** Smoothed as TCP does it (RFC 6298); undefined until measured. */
  roundTripMillis: number | undefined

  readonly #host: ConnectionHost
  readonly #session: ClientHttp2Session | ServerHttp2Session
  readonly #client: ClientHttp2Session | undefined
  readonly #idleTimeoutMillis: number
  readonly #keepAliveMillis: number
  readonly #streams = new Set<TcpStream>()
  /** HTTP/2 streams in use: that of a stream which was given up may live a little longer. */
  #carriers = 0
  /** The streams that have a carrier, by its number. */
  readonly #byNumber = new Map<number, TcpStream>()
  readonly #arrived: Array<TcpStream> = []
  readonly #acceptors: Array<(stream: TcpStream) => void> = []
  readonly #openers: Array<(stream: TcpStream) => void> = []
  readonly #enders = new Set<(reason: EndReason) => void>()
  readonly #probes = new Set<() => void>()
  readonly #supply: StreamSupply
  readonly #pool: StreamPool
  #control: ControlStream | undefined
  /** What was wanted before there was a control stream. */
  #wanted = 0
  #theirSettings = false
  #ourSettings = false
  #pings = 0
  #silentMillis = 0
  #bytesSeen = 0
  /** At the last look there were bytes that the system did not take. */
  #blocked = false
  #bytesTaken = 0

  constructor({ host, socket, peerCertificate, part, credit, idleTimeoutMillis }: ConnectionOptions) {
    this.#host = host
    this.socket = socket
    this.credit = credit
    this.protocol = socket.alpnProtocol || ""
    this.peerCertificate = peerCertificate
    this.local = addressOf(socket.localAddress, socket.localPort)
    this.remote = addressOf(socket.remoteAddress, socket.remotePort)
    this.#idleTimeoutMillis = idleTimeoutMillis
    this.#keepAliveMillis = Math.min(KEEP_ALIVE_MILLIS, idleTimeoutMillis / 2)
    // Node would make a URL of it when the other side sends ORIGIN frames, and throw when it makes none.
    socket.servername = "connet"
    // Before the session hears of it: it would reset all streams.
    socket
      .on("error", (error: NodeJS.ErrnoException) => this.#failed(error))
      .on("end", () => this.#lost("closed"))
      .on("close", () => this.#lost("closed"))
    const options = http2Options(credit)
    if (part === "client") {
      this.#client = connect("http://connet", { ...options, createConnection: () => socket })
      this.#session = this.#client
    } else {
      this.#session = performServerHandshake(socket, options)
    }
    this.#supply = new StreamSupply(() => this.#openSpare())
    this.#pool = new StreamPool((streams) => this.#want(streams))
    this.#session
      .on("error", (error: NodeJS.ErrnoException) => this.#failed(error))
      .on("close", () => this.#lost("closed"))
      .on("goaway", (code, _last, text) => this.#saidGoodbye(code, text))
      .on("localSettings", () => {
        this.#ourSettings = true
        this.#settled()
      })
      .on("remoteSettings", () => {
        this.#theirSettings = true
        this.#settled()
      })
    if (part === "server") {
      this.#session.on("stream", (carrier: Http2Stream, headers: { ":method"?: string; ":authority"?: string }) =>
        this.#welcome(carrier, headers)
      )
    }
    this.#session.setLocalWindowSize(CONNECTION_BYTES)
  }

  get streamCount(): number {
    return this.#streams.size
  }

  get bytesSent(): number {
    return this.socket.bytesWritten
  }

  get bytesReceived(): number {
    return this.socket.bytesRead
  }

  /** Not told by Node's public interface: what a socket has been given and could not write yet. */
  get bytesWaiting(): number {
    return (this.socket as { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize ?? 0
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** How many more streams there may be at the moment; both ends share the limit of the stricter one. */
  get streamsLeft(): number {
    const theirs = this.state === "open" ? (this.#session.remoteSettings.maxConcurrentStreams ?? 0) : 0
    const withoutCarrier = this.#streams.size - this.#byNumber.size
    return Math.min(theirs - RESERVED_STREAMS, this.credit.streams) - this.#carriers - withoutCarrier
  }

  /** Calls back with a new stream once there may be one more. The result withdraws the wish. */
  open(opened: (stream: TcpStream) => void): () => void {
    this.#openers.push(opened)
    this.#admitOpeners()
    return () => remove(this.#openers, opened)
  }

  /** Calls back with the next stream that the other side opened. The result withdraws the wish. */
  accept(accepted: (stream: TcpStream) => void): () => void {
    const waiting = this.#arrived.shift()
    if (waiting !== undefined) accepted(waiting)
    else this.#acceptors.push(accepted)
    return () => remove(this.#acceptors, accepted)
  }

  carry(stream: TcpStream): Http2Stream | undefined {
    if (this.state !== "open" || this.failing) return undefined
    if (this.#client !== undefined) return this.#bind(stream, this.#client.request(OWN))
    const carrier = this.#pool.take(stream)
    return carrier && this.#bind(stream, carrier)
  }

  sendStop(carrier: Http2Stream, code: number): void {
    if (carrier.id !== undefined) this.#control?.sendStop(carrier.id, code)
  }

  release(stream: TcpStream): void {
    if (!this.#streams.delete(stream)) return
    if (stream.number === 0) this.#pool.withdraw(stream)
    else this.#byNumber.delete(stream.number)
    this.#admitOpeners()
  }

  carrierClosed(): void {
    this.#carriers--
    this.#admitOpeners()
    this.#supply.refill()
  }

  // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Closes with an application code and a reason. */
  close(code: number, text: string): void {
    if (this.state === "ended") return
    if (!this.failing) this.#session.goaway(toWire(code), 0, closeText(text))
    this.#end(new Closed({ by: "local", code, application: true, text }))
  }

  /** Calls back once when the connection is over. The result withdraws the wish. */
  onEnd(ended: (reason: EndReason) => void): () => void {
    this.#enders.add(ended)
    return () => this.#enders.delete(ended)
  }

  /** Takes the connection out of service, without a word to the other side. */
  end(reason: EndReason): void {
    this.#end(reason)
    this.socket.destroy()
  }

  /** Calls back when the other side has answered. The result withdraws the wish. */
  probe(answered: () => void): () => void {
    this.#probes.add(answered)
    this.#ping()
    return () => this.#probes.delete(answered)
  }

  /** Regular upkeep: asks for a sign of life when nothing else came, and gives up when none came for long. */
  tick(millis: number): void {
    if (this.failing) {
      this.#failed({ name: "", code: "ERR_HTTP2", message: "HTTP/2 gave up" })
      return
    }
    const { bytesReceived, bytesSent, bytesWaiting } = this
    // On a slow way up, answers come late behind what is sent; but nothing more goes out while nothing is confirmed.
    const taken = this.#blocked && bytesSent !== this.#bytesTaken
    this.#blocked = bytesWaiting > 0
    this.#bytesTaken = bytesSent
    if (bytesReceived !== this.#bytesSeen || taken) {
      this.#bytesSeen = bytesReceived
      this.#silentMillis = 0
      return
    }
    this.#silentMillis += millis
    if (this.#silentMillis >= this.#idleTimeoutMillis) this.end(new Lost())
    else if (this.#silentMillis >= this.#keepAliveMillis && this.#pings === 0) this.#ping()
  }

  // ── what happens ───────────────────────────────────────────────────────────────────────────────────────────────────

  get failing(): boolean {
    return this.#session.destroyed || this.#session.closed
  }

  /** Settings have come, or were confirmed by the other side. */
  #settled(): void {
    if (this.state === "open") this.#admitOpeners()
    if (this.state !== "opening" || !this.#ourSettings || !this.#theirSettings) return
    this.state = "open"
    if (this.#client !== undefined) {
      this.#useControl(this.#client.request(CONTROL))
      this.#supply.refill()
    }
    this.#ping()
    this.#admitOpeners()
    this.opened?.()
  }

  /** A stream that the HTTP/2 client has opened. */
  #welcome(carrier: Http2Stream, headers: { ":method"?: string; ":authority"?: string }): void {
    carrier.on("error", ignore)
    if (this.state === "ended" || carrier.destroyed || carrier.closed) return
    const kind = headers[":method"] === "CONNECT" ? headers[":authority"] : undefined
    if (this.state === "opening") this.#violated("a stream came before the settings were confirmed")
    else if (kind === OWN[":authority"]) this.#arrive(carrier)
    else if (kind === SPARE[":authority"]) this.#offer(carrier)
    else if (kind === CONTROL[":authority"] && this.#control === undefined) this.#useControl(carrier)
    else this.#violated("a request that is none of connet's")
  }

  #offer(carrier: Http2Stream): void {
    const stream = this.#pool.offer(carrier)
    if (stream !== undefined) stream.attach(this.#bind(stream, carrier))
  }

  /** The server answers when a stream comes into use; so the client learns that a spare one was taken. */
  #bind(stream: TcpStream, carrier: Http2Stream): Http2Stream {
    this.#carriers++
    if (carrier.id !== undefined) this.#byNumber.set(carrier.id, stream)
    if (isServerStream(carrier)) carrier.respond(ACCEPTED, RESPOND)
    return carrier
  }

  #arrive(carrier: Http2Stream): void {
    if (this.#acceptors.length === 0 && this.#arrived.length >= ACCEPT_STREAMS) {
      resetCarrier(carrier, 0)
      return
    }
    const stream = new TcpStream(this)
    this.#streams.add(stream)
    stream.attach(this.#bind(stream, carrier))
    const acceptor = this.#acceptors.shift()
    if (acceptor === undefined) this.#arrived.push(stream)
    else acceptor(stream)
  }

  #openSpare(): boolean {
    if (this.#client === undefined || this.state !== "open" || this.failing) return false
    if (this.#supply.spare >= this.streamsLeft + MAX_SPARE_STREAMS) return false
    const carrier: ClientHttp2Stream = this.#client.request(SPARE)
    // No server of ours does that, and for one that does there would be no end of new ones.
    const lost = () => this.#violated("a spare stream was reset")
    carrier.on("error", ignore).once("close", lost)
    carrier.once("response", () => {
      carrier.off("close", lost)
      if (this.state === "ended" || carrier.destroyed) return
      this.#arrive(carrier)
      this.#supply.taken()
    })
    return true
  }

  #useControl(carrier: Http2Stream): void {
    if (isServerStream(carrier)) carrier.respond(ACCEPTED, RESPOND)
    this.#control = new ControlStream({
      carrier,
      stopped: (number, code) => this.#byNumber.get(number)?.deliverStop(code),
      wanted: (streams) => this.#supply.want(streams),
      failed: () => this.#violated("the control stream ended")
    })
    if (this.#wanted > 0) this.#control.want(this.#wanted)
    this.#wanted = 0
  }

  #want(streams: number): void {
    if (this.#control === undefined) this.#wanted += streams
    else this.#control.want(streams)
  }

  #admitOpeners(): void {
    while (this.#openers.length > 0 && this.state === "open" && this.streamsLeft > 0) {
      const stream = new TcpStream(this)
      this.#streams.add(stream)
      this.#openers.shift()!(stream)
    }
  }

  #ping(): void {
    if (this.#pings >= MAX_PINGS || this.failing) return
    const answering = [...this.#probes]
    this.#probes.clear()
    this.#pings++
    this.#session.ping((error, millis) => {
      this.#pings--
      if (error !== null) return
      const last = this.roundTripMillis
      this.roundTripMillis = last === undefined ? millis : last + (millis - last) / 8
      for (const answered of answering) answered()
      if (this.#probes.size > 0) this.#ping()
    })
  }

  #saidGoodbye(wire: number, text: Uint8Array | undefined): void {
    const code = fromWire(wire)
    const reason =
      code === undefined
        ? { code: wire, application: false, text: "HTTP/2" }
        : {
            code,
            application: true,
            text: text === undefined ? "" : closeText(Buffer.from(text).toString()).toString()
          }
    this.#end(new Closed({ by: "peer", ...reason }))
  }

  #violated(detail: string): void {
    if (this.state === "ended" || this.failing) return
    this.#session.goaway(constants.NGHTTP2_PROTOCOL_ERROR)
    this.#end(new Closed({ by: "local", code: constants.NGHTTP2_PROTOCOL_ERROR, application: false, text: detail }))
  }

  /** The other side does not speak HTTP/2 as it should, or the socket failed. */
  #failed({ code, message }: NodeJS.ErrnoException): void {
    if (code?.startsWith("ERR_HTTP2")) {
      this.#end(new Closed({ by: "local", code: constants.NGHTTP2_PROTOCOL_ERROR, application: false, text: message }))
    } else this.#lost(`lost (${code ?? message})`)
  }

  /** The socket is gone without a farewell. */
  #lost(code: string): void {
    this.#end(new Closed({ by: "peer", code: 0, application: false, text: `the TCP connection was ${code}` }))
  }

  #end(reason: EndReason): void {
    if (this.state === "ended") return
    this.state = "ended"
    this.endReason = reason
    const error = new TransportError({ reason })
    for (const stream of [...this.#streams]) stream.connectionEnded(error)
    this.#streams.clear()
    this.#byNumber.clear()
    this.#pool.clear()
    this.#arrived.length = 0
    this.#acceptors.length = 0
    this.#openers.length = 0
    this.#probes.clear()
    this.#host.forget(this)
    // This may be called from within the session, in the middle of what it received.
    setImmediate(() => {
      // Closed first: a session that is only destroyed destroys its socket while the farewell may be unread.
      this.#session.close()
      this.#session.destroy()
    })
    for (const ender of this.#enders) ender(reason)
    this.#enders.clear()
  }
}

/** Not among the documented options: leaves out the date. */
const RESPOND: ServerStreamResponseOptions & { readonly sendDate: boolean } = { sendDate: false }

const ignore = (): void => {}

const isServerStream = (stream: Http2Stream): stream is ServerHttp2Stream => "respond" in stream

const addressOf = (host: string | undefined, port: number | undefined): SocketAddress.SocketAddress => ({
  host: SocketAddress.unmapped(host ?? ""),
  port: port ?? 0
})

const remove = <A>(list: Array<A>, item: A): void => {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
