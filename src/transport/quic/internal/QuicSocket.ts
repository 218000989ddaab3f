/**
 * One UDP socket with everything on it: listeners, dialed and accepted connections, raw datagrams.
 *
 * A packet finds its connection by the connection id it is addressed to; what belongs to none starts a connection, gets a
 * stateless reset, or is dropped without a trace. Connections that something happened to get one turn each at the end of the event loop's
 * turn, so that many packets make one batch of acknowledgements.
 *
 * Invariants: every id in `#byId` belongs to a connection in `#connections`; a connection has at most one timer; with no
 * connection there is no timer at all.
 */
import { randomBytes } from "node:crypto"
import dgram from "node:dgram"
import { isIPv6 } from "node:net"
import * as SocketAddress from "../../../domain/SocketAddress.ts"
import type { Datagram } from "../../Transport.ts"
import { Lost } from "../../TransportError.ts"
import { destinationId, idText, LONG_HEADER, sourceId } from "./connectionIds.ts"
import { initialClose } from "./initialClose.ts"
import { LatelyCounter } from "./LatelyCounter.ts"
import {
  CLOSED_ANSWER_MILLIS,
  CLOSED_ANSWERS,
  CONNECTION_ID_BYTES,
  DATAGRAM_QUEUE,
  FAILURES_MILLIS,
  HANDSHAKE_MILLIS,
  INITIAL_PACKET_BYTES,
  KEEP_ALIVE_MILLIS,
  LAST_WORD_PACKETS,
  MAX_HALF_OPEN,
  MIN_RESET_BYTES,
  PACKET_BYTES,
  RETRY_ABOVE_HALF_OPEN,
  SEND_QUEUE_BYTES,
  STRAYS_PER_SECOND
} from "./limits.ts"
import type { Native, NativeConfig } from "./native.ts"
import { type ConnectionHost, QuicConnection, type ReadBuffer } from "./QuicConnection.ts"
import { issueRetryToken, openRetryToken } from "./retryToken.ts"
import { slabReader } from "./slabReader.ts"
import { resetToken, resetTokenNumber, statelessReset } from "./statelessReset.ts"

const FIXED_BIT = 0x40
const PACKET_TYPE = 0x30
const QUIC_VERSION_1 = 1

/** Memory that packets are written to before they go out; several bursts long. */
const SEND_SLAB_BYTES = 256 * 1024

const MAX_TICK_MILLIS = 1_000

const NO_TOKEN = new Uint8Array(0)

interface LastWord {
  readonly packet: Buffer
  readonly to: SocketAddress.SocketAddress
  readonly until: number
  answers: number
}

export interface Newcomers {
  readonly config: NativeConfig
  /** False for the IP address of whoever is refused. */
  readonly admits: ((host: string) => boolean) | undefined
  /** A handshake began; it is not complete yet. */
  readonly arrived: (connection: QuicConnection) => void
}

export interface SocketOptions {
  readonly receiveBufferBytes: number
  readonly sendBufferBytes: number
  /** Keep-alives are sent in half of it at the latest. */
  readonly idleTimeoutMillis: number
  /** 32 bytes, for the tokens of stateless resets. */
  readonly resetKey: Uint8Array
}

export class QuicSocket implements ConnectionHost {
  readonly address: SocketAddress.SocketAddress
  readonly readBuffer: ReadBuffer = slabReader()
  readonly datagrams: Array<Datagram> = []
  /** Called after a raw datagram was put into `datagrams`. */
  datagramArrived: (() => void) | undefined
  /** How new connections are answered; without it they are ignored. */
  newcomers: Newcomers | undefined

  readonly #native: Native
  readonly #udp: dgram.Socket
  readonly #dualStack: boolean
  readonly #connections = new Set<QuicConnection>()
  readonly #byId = new Map<string, QuicConnection>()
  readonly #lastWords = new Map<string, LastWord>()
  readonly #retryKey = randomBytes(32)
  readonly #resetKey: Uint8Array
  readonly #keepAliveMillis: number
  readonly #tickMillis: number
  /** Beginnings that failed: each has cost memory that only a garbage collection gives back. */
  readonly #failures = new LatelyCounter(FAILURES_MILLIS)
  /** Packets for connections that are not known. */
  readonly #strays = new LatelyCounter(1_000)
  #due: Array<QuicConnection> = []
  #turnScheduled = false
  #ticker: NodeJS.Timeout | undefined
  #slab = Buffer.allocUnsafeSlow(SEND_SLAB_BYTES)
  #slabUsed = 0
  #lastFrom: { readonly raw: string; readonly port: number; readonly info: ReceiveInfo } | undefined

  private constructor(native: Native, udp: dgram.Socket, { idleTimeoutMillis, resetKey }: SocketOptions) {
    this.#native = native
    this.#resetKey = resetKey
    this.#keepAliveMillis = Math.min(KEEP_ALIVE_MILLIS, idleTimeoutMillis / 2)
    this.#tickMillis = Math.min(MAX_TICK_MILLIS, idleTimeoutMillis / 8)
    this.#udp = udp
    const bound = udp.address()
    this.address = { host: bound.address, port: bound.port }
    this.#dualStack = bound.family === "IPv6"
    udp.on("message", (bytes, from) => this.#receive(bytes, from))
    // A packet that cannot be sent is a lost packet; loss is what connections are made to survive.
    udp.on("error", () => {})
  }

  /** Opens the socket; rejects with the system's error. */
  static async bind(native: Native, address: SocketAddress.SocketAddress, options: SocketOptions): Promise<QuicSocket> {
    const udp = dgram.createSocket({
      type: isIPv6(address.host) ? "udp6" : "udp4",
      recvBufferSize: options.receiveBufferBytes,
      sendBufferSize: options.sendBufferBytes,
      // Every address is a literal; the default would make a trip to the thread pool for each packet.
      lookup: (host, _options, found) => found(null, host, host.includes(":") ? 6 : 4)
    })
    await new Promise<void>((resolve, reject) => {
      udp.once("error", (error) => {
        udp.close()
        reject(error)
      })
      udp.bind(address.port, address.host, () => {
        udp.removeAllListeners("error")
        resolve()
      })
    })
    return new QuicSocket(native, udp, options)
  }

  /** The receive buffer that the system grants, in bytes. */
  get receiveBufferBytes(): number {
    return this.#udp.getRecvBufferSize()
  }

  get counts() {
    let streams = 0
    let timers = this.#ticker === undefined ? 0 : 1
    for (const connection of this.#connections) {
      streams += connection.streamCount
      timers += connection.timers
    }
    return { connections: this.#connections.size, streams, timers }
  }

  connect(serverName: string | undefined, remote: SocketAddress.SocketAddress, config: NativeConfig): QuicConnection {
    const id = randomBytes(CONNECTION_ID_BYTES)
    const native = this.#native.Connection.connect(
      serverName ?? null,
      id,
      this.#localFor(remote.host),
      { ...remote },
      config
    )
    const connection = new QuicConnection(this, native, false, remote, Date.now())
    this.#add(connection, [idText(id)])
    this.schedule(connection)
    return connection
  }

  send(to: SocketAddress.SocketAddress, bytes: Uint8Array): void {
    this.#udp.send(bytes, 0, bytes.length, to.port, this.#wireHost(to.host))
  }

  /** Closes every connection and the socket. */
  async close(): Promise<void> {
    this.newcomers = undefined
    for (const connection of [...this.#connections]) connection.close(0, "")
    this.#lastWords.clear()
    this.#stopTicker()
    await new Promise<void>((resolve) => this.#udp.close(() => resolve()))
  }

  // ── for connections ────────────────────────────────────────────────────────────────────────────────────────────────

  schedule(connection: QuicConnection): void {
    if (connection.scheduled || connection.state === "ended") return
    connection.scheduled = true
    this.#due.push(connection)
    if (this.#turnScheduled) return
    this.#turnScheduled = true
    setImmediate(this.#turn)
  }

  transmit(connection: QuicConnection, packets: number): boolean {
    const udp = this.#udp
    if (udp.getSendQueueSize() > SEND_QUEUE_BYTES) return true
    for (let n = 0; n < packets; n++) {
      if (SEND_SLAB_BYTES - this.#slabUsed < PACKET_BYTES) this.#renewSlab()
      const start = this.#slabUsed
      const sent = nextPacket(connection, this.#slab.subarray(start, start + PACKET_BYTES))
      if (sent === null) return false
      const [bytes, { to }] = sent
      udp.send(this.#slab, start, bytes, to.port, this.#wireHost(to.host))
      this.#slabUsed = start + bytes
      connection.packetsSent++
    }
    return true
  }

  sendLastWord(connection: QuicConnection): void {
    let packet: Buffer | undefined
    for (let packets = 0; packets < LAST_WORD_PACKETS; packets++) {
      const space = Buffer.allocUnsafe(PACKET_BYTES)
      const sent = nextPacket(connection, space)
      if (sent === null) break
      packet = space.subarray(0, sent[0])
      this.send(sent[1].to, packet)
    }
    if (packet === undefined) return
    const word = { packet, to: connection.remote, until: Date.now() + CLOSED_ANSWER_MILLIS, answers: CLOSED_ANSWERS }
    for (const id of connection.ids) this.#lastWords.set(id, word)
    this.#ticker ??= setInterval(this.#tick, this.#tickMillis)
  }

  forget(connection: QuicConnection): void {
    if (!this.#connections.delete(connection)) return
    clearTimeout(connection.timer)
    connection.timer = undefined
    for (const id of connection.ids) this.#byId.delete(id)
    this.#stopTickerWhenIdle()
  }

  // ── receiving ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(packet: Buffer, from: dgram.RemoteInfo): void {
    if (packet.length < 2) return
    const first = packet[0]!
    if ((first & FIXED_BIT) === 0) {
      this.#receiveDatagram(packet, from)
      return
    }
    const id = destinationId(packet)
    if (id === undefined) return
    const connection = this.#byId.get(id)
    if (connection !== undefined) {
      connection.receive(packet, this.#receiveInfo(from))
      return
    }
    const lastWord = this.#lastWords.get(id)
    if (lastWord !== undefined) {
      if (lastWord.answers-- > 0) this.send(lastWord.to, lastWord.packet)
      return
    }
    if ((first & LONG_HEADER) === 0) {
      this.#receiveStray(packet, id, from)
      return
    }
    const mayBegin =
      (first & PACKET_TYPE) === 0 && packet.length >= INITIAL_PACKET_BYTES && packet.readUInt32BE(1) === QUIC_VERSION_1
    if (mayBegin && this.newcomers !== undefined) this.#welcome(packet, id, from, this.newcomers)
  }

  #receiveDatagram(bytes: Buffer, from: dgram.RemoteInfo): void {
    if (this.datagrams.length >= DATAGRAM_QUEUE) this.datagrams.shift()
    this.datagrams.push({ from: { host: SocketAddress.unmapped(from.address), port: from.port }, bytes })
    this.datagramArrived?.()
  }

  /** A packet for a connection that is not known: it is a stateless reset, or gets one. */
  #receiveStray(packet: Buffer, id: string, from: dgram.RemoteInfo): void {
    if (this.#strays.add() > STRAYS_PER_SECOND) return
    const info = this.#receiveInfo(from)
    if (packet.length >= MIN_RESET_BYTES && this.#isReset(packet, info)) return
    const reset = statelessReset(packet.length, resetToken(this.#resetKey, Buffer.from(id, "latin1")))
    if (reset !== undefined) this.send(info.from, reset)
  }

  /** quiche finds its token in the packet, but only the one that came with the handshake of a connection that it dialed. */
  #isReset(packet: Buffer, info: ReceiveInfo): boolean {
    for (const connection of this.#connections) {
      if (connection.isServer || connection.state !== "open") continue
      if (!SocketAddress.equals(connection.remote, info.from)) continue
      connection.receive(packet, info)
      if (connection.native.isClosed()) return true
    }
    return false
  }

  /** Starts a connection from its first packet, if that is a good one. */
  #welcome(packet: Buffer, dialedId: string, from: dgram.RemoteInfo, newcomers: Newcomers): void {
    const info = this.#receiveInfo(from)
    if (newcomers.admits?.(info.from.host) === false) {
      const itsId = sourceId(packet)
      if (itsId !== undefined) this.send(info.from, initialClose(Buffer.from(dialedId, "latin1"), itsId))
      return
    }
    const halfOpen = this.#halfOpen()
    if (halfOpen >= MAX_HALF_OPEN) return
    try {
      const { token = NO_TOKEN, dcid, scid } = this.#native.Header.fromSlice(packet, CONNECTION_ID_BYTES)
      const address = SocketAddress.format(info.from)
      // A proof counts whenever it comes: its bearer checks that the answer knows of it (RFC 9000 §7.3).
      const original = openRetryToken(this.#retryKey, address, token, Date.now()) ?? null
      if (original === null && halfOpen + this.#failures.count() >= RETRY_ABOVE_HALF_OPEN) {
        if (token.length === 0) this.#sendRetry(scid, dcid, address, info.from)
        return
      }
      const id = original === null ? randomBytes(CONNECTION_ID_BYTES) : Buffer.from(dcid)
      newcomers.config.setStatelessResetToken(resetTokenNumber(this.#resetKey, id))
      const native = this.#native.Connection.accept(id, original, info.to, info.from, newcomers.config)
      const connection = new QuicConnection(this, native, true, info.from, Date.now())
      this.#begin(connection, packet, info, [idText(id), dialedId], newcomers)
    } catch {
      // Not the beginning of a connection.
    }
  }

  #begin(
    connection: QuicConnection,
    packet: Buffer,
    info: ReceiveInfo,
    ids: ReadonlyArray<string>,
    newcomers: Newcomers
  ): void {
    for (const id of ids) connection.ids.add(id)
    try {
      connection.native.recv(packet, info)
    } catch {
      // Not QUIC at all, or a handshake that cannot succeed: then there is an alert to send.
      this.#failures.add()
      if (connection.native.localError() !== null) this.sendLastWord(connection)
      return
    }
    this.#add(connection, ids)
    newcomers.arrived(connection)
    this.schedule(connection)
  }

  #sendRetry(scid: Uint8Array, dcid: Uint8Array, address: string, to: SocketAddress.SocketAddress): void {
    const token = issueRetryToken(this.#retryKey, address, dcid, Date.now())
    const out = Buffer.allocUnsafe(PACKET_BYTES)
    const bytes = this.#native.retry(scid, dcid, randomBytes(CONNECTION_ID_BYTES), token, QUIC_VERSION_1, out)
    this.send(to, out.subarray(0, bytes))
  }

  #halfOpen(): number {
    let count = 0
    if (this.#connections.size >= RETRY_ABOVE_HALF_OPEN) {
      for (const connection of this.#connections) if (connection.state === "opening" && connection.isServer) count++
    }
    return count
  }

  /** The addresses of a packet as quiche wants them; the same object again for the same sender. */
  #receiveInfo(from: dgram.RemoteInfo): ReceiveInfo {
    const last = this.#lastFrom
    if (last !== undefined && last.port === from.port && last.raw === from.address) return last.info
    const host = SocketAddress.unmapped(from.address)
    const info = { from: { host, port: from.port }, to: this.#localFor(host) }
    this.#lastFrom = { raw: from.address, port: from.port, info }
    return info
  }

  // ── turns and time ─────────────────────────────────────────────────────────────────────────────────────────────────

  readonly #turn = (): void => {
    this.#turnScheduled = false
    const due = this.#due
    this.#due = []
    for (const connection of due) {
      connection.scheduled = false
      if (connection.state === "ended") continue
      if (connection.turn()) this.schedule(connection)
      else this.#setTimer(connection)
    }
    if (this.#slabUsed > SEND_SLAB_BYTES / 2) this.#renewSlab()
  }

  /** A timer that is early is left to fire: setting one for each turn costs more than a look in vain. */
  #setTimer(connection: QuicConnection): void {
    if (connection.state === "ended") return
    const wait = connection.native.timeout()
    if (wait === null) return
    const at = performance.now() + wait + 1
    if (connection.timer !== undefined) {
      if (connection.timerAt <= at) return
      clearTimeout(connection.timer)
    }
    connection.timerAt = at
    connection.timer = setTimeout(this.#timerFired, wait + 1, connection)
  }

  readonly #timerFired = (connection: QuicConnection): void => {
    connection.timer = undefined
    if (connection.state === "ended") return
    const wait = connection.native.timeout()
    if (wait !== null && wait > 0) {
      this.#setTimer(connection)
      return
    }
    connection.native.onTimeout()
    this.schedule(connection)
  }

  readonly #tick = (): void => {
    const now = Date.now()
    for (const connection of [...this.#connections]) {
      if (connection.state === "opening" && connection.isServer && now - connection.createdAt > HANDSHAKE_MILLIS) {
        connection.end(new Lost())
        continue
      }
      connection.tick(now)
      this.#keepAlive(connection, now)
      this.#renewIds(connection)
    }
    for (const [id, word] of this.#lastWords) if (word.until < now) this.#lastWords.delete(id)
    this.#stopTickerWhenIdle()
  }

  #keepAlive(connection: QuicConnection, now: number): void {
    if (connection.packetsSent !== connection.packetsSeen) {
      connection.packetsSeen = connection.packetsSent
      connection.quietSince = now
    } else if (connection.state === "open" && now - connection.quietSince >= this.#keepAliveMillis) {
      connection.native.sendAckEliciting()
      this.schedule(connection)
    }
  }

  /** Spare ids let the other side go on from another address (RFC 9000 §9.5). */
  #renewIds(connection: QuicConnection): void {
    if (connection.state !== "open") return
    const { native } = connection
    for (let retired = native.retiredScidNext(); retired !== null; retired = native.retiredScidNext()) {
      const id = idText(retired)
      connection.ids.delete(id)
      this.#byId.delete(id)
    }
    while (native.sourceCidsLeft() > 0) {
      const id = randomBytes(CONNECTION_ID_BYTES)
      native.newSourceCid(id, resetTokenNumber(this.#resetKey, id), false)
      this.#identify(connection, idText(id))
    }
  }

  // ── bookkeeping ────────────────────────────────────────────────────────────────────────────────────────────────────

  #add(connection: QuicConnection, ids: ReadonlyArray<string>): void {
    this.#connections.add(connection)
    for (const id of ids) this.#identify(connection, id)
    this.#ticker ??= setInterval(this.#tick, this.#tickMillis)
  }

  #identify(connection: QuicConnection, id: string): void {
    connection.ids.add(id)
    this.#byId.set(id, connection)
  }

  #stopTickerWhenIdle(): void {
    if (this.#connections.size === 0 && this.#lastWords.size === 0) this.#stopTicker()
  }

  #stopTicker(): void {
    clearInterval(this.#ticker)
    this.#ticker = undefined
  }

  /** Packets still queued in the process point into the old memory, so it is only written again when none are. */
  #renewSlab(): void {
    if (this.#udp.getSendQueueSize() > 0) this.#slab = Buffer.allocUnsafeSlow(SEND_SLAB_BYTES)
    this.#slabUsed = 0
  }

  #localFor(host: string): { host: string; port: number } {
    return { host: host.includes(":") ? "::" : "0.0.0.0", port: this.address.port }
  }

  #wireHost(host: string): string {
    return this.#dualStack && !host.includes(":") ? `::ffff:${host}` : host
  }
}

interface ReceiveInfo {
  readonly from: { host: string; port: number }
  readonly to: { host: string; port: number }
}

const nextPacket = (connection: QuicConnection, space: Uint8Array) => {
  try {
    return connection.native.send(space)
  } catch {
    return null
  }
}
