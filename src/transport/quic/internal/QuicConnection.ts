/**
 * One QUIC connection: quiche's state machine on one side, streams and callbacks on the other.
 *
 * It works in turns, one for each turn of the event loop in which anything happened (`turn`): take note of the handshake,
 * read for streams whose consumers have room, write for streams that were waiting, send packets, and look whether it is
 * over. Nothing in here waits or allocates per packet beyond what Node and quiche do.
 *
 * Life: opening → open → ended. `ended` is reported exactly once, with a reason, and takes every stream with it.
 *
 * How streams end and how they are given up takes more than quiche 0.18 does by itself: see `StreamEnds` and
 * `AbandonedStreams`.
 */
import type { SocketAddress } from "../../../domain/SocketAddress.ts"
import { Closed, Lost, TransportError } from "../../TransportError.ts"
import { AbandonedStreams } from "./AbandonedStreams.ts"
import { ACCEPT_STREAMS, BURST_READ_BYTES, BURST_WRITERS, CLOSE_TEXT_BYTES, LAST_WORD_PACKETS } from "./limits.ts"
import { errorCode, type NativeConnection } from "./native.ts"
import { QuicStream, type StreamOwner, type WriteCallback } from "./QuicStream.ts"
import { StreamEnds } from "./StreamEnds.ts"

/** What a connection needs from its socket. */
export interface ConnectionHost {
  readonly address: SocketAddress
  /** Asks for a turn. */
  schedule(connection: QuicConnection): void
  /** Sends up to `packets` of the connection's packets; true when there are more. */
  transmit(connection: QuicConnection, packets: number): boolean
  /** Sends what is left to say after `close`, and says it again to packets that come late. */
  sendLastWord(connection: QuicConnection): void
  /** Memory to receive into; `consumed` says how much of it was used. */
  readonly readBuffer: ReadBuffer
  /** The connection is over; its ids can go. */
  forget(connection: QuicConnection): void
}

export interface ReadBuffer {
  space(): Uint8Array
  consumed(bytes: number): void
}

export type EndReason = Closed | Lost

const EMPTY = new Uint8Array(0)

export class QuicConnection implements StreamOwner {
  readonly native: NativeConnection
  readonly isServer: boolean
  /** Connection ids under which the socket finds this connection. */
  readonly ids = new Set<string>()
  readonly createdAt: number
  /** Called when the handshake is complete. */
  opened: (() => void) | undefined
  state: "opening" | "open" | "ended" = "opening"
  scheduled = false
  timer: NodeJS.Timeout | undefined
  timerAt = 0
  packetsSent = 0
  /** What `packetsSent` was at the last tick, and since when it has not changed. */
  packetsSeen = 0
  quietSince: number
  readonly local: SocketAddress
  /** Where the other end was when the connection began. */
  readonly remote: SocketAddress
  endReason: EndReason | undefined

  readonly #host: ConnectionHost
  readonly #streams = new Map<number, QuicStream>()
  readonly #blocked = new Set<QuicStream>()
  readonly #ends: StreamEnds
  readonly #abandoned: AbandonedStreams
  readonly #arrived: Array<QuicStream> = []
  readonly #acceptors: Array<(stream: QuicStream) => void> = []
  readonly #openers: Array<(stream: QuicStream) => void> = []
  readonly #probes: Array<{ readonly received: number; readonly answered: () => void }> = []
  #nextNumber: number
  #turns = 0
  /** Streams that were opened but have no number yet. */
  readonly #unnumbered = new Set<QuicStream>()
  readonly #enders = new Set<(reason: EndReason) => void>()

  constructor(host: ConnectionHost, native: NativeConnection, isServer: boolean, remote: SocketAddress, now: number) {
    this.local = host.address
    this.#host = host
    this.native = native
    this.isServer = isServer
    this.remote = remote
    this.createdAt = now
    this.quietSince = now
    this.#nextNumber = isServer ? 1 : 0
    const schedule = () => host.schedule(this)
    this.#abandoned = new AbandonedStreams(native, schedule)
    this.#ends = new StreamEnds(native, {
      schedule,
      transmit: (packets) => host.transmit(this, packets),
      packetsSent: () => this.packetsSent,
      stream: (number) => this.#streams.get(number),
      failed: (stream, error) => this.#writeFailed(stream, error)
    })
  }

  get ended(): boolean {
    return this.state === "ended"
  }

  get timers(): number {
    return (this.timer === undefined ? 0 : 1) + this.#ends.timers
  }

  get streamCount(): number {
    return this.#streams.size + this.#unnumbered.size
  }

  /** The path in use, with quiche's figures of it; round trip in whole milliseconds. */
  activePath() {
    return this.native.pathStats().find((path) => path.active)
  }

  /** Where the other end is now. */
  remoteAddress(): SocketAddress {
    const path = this.activePath()
    return path === undefined ? this.remote : { host: path.peerHost.host, port: path.peerHost.port }
  }

  // ── packets ────────────────────────────────────────────────────────────────────────────────────────────────────────

  receive(packet: Uint8Array, info: Parameters<NativeConnection["recv"]>[1]): void {
    try {
      this.native.recv(packet, info)
    } catch {
      // quiche has noted what is wrong and sends it with the next packets; a packet that is merely bad is dropped.
    }
    this.#host.schedule(this)
  }

  /** Does everything that became possible. True when another turn is needed at once. */
  turn(): boolean {
    if (this.state === "opening" && this.native.isEstablished()) {
      this.state = "open"
      this.opened?.()
    }
    let more = false
    if (this.state === "open") {
      more = this.#read()
      this.#write()
      this.#admitOpeners()
    }
    if (this.#probes.length > 0) this.#answerProbes()
    // Any callback above may have ended the connection, and even closed the socket.
    if (this.ended) return false
    const left = this.#ends.transmit()
    this.#abandoned.turn(() => this.#ends.allSent())
    this.#ends.turn()
    this.#noticeEnd()
    return (more || left) && !this.ended
  }

  /** Regular upkeep, about once a second: what no packet would draw attention to. */
  tick(now: number): void {
    if (this.state !== "open") return
    this.#abandoned.tick(now, (number) => this.#streams.has(number))
    for (const stream of [...this.#streams.values()]) {
      if (!stream.wantsData && !stream.readDone) this.#noticeReset(stream)
      if (!stream.writeDone) this.#noticeStop(stream)
    }
    this.#host.schedule(this)
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** How many more streams the other side allows at the moment. */
  get streamsLeft(): number {
    return this.native.peerStreamsLeftBidi() - this.#unnumbered.size
  }

  /** Calls back with a new stream once the other side allows one more. The result withdraws the wish. */
  open(opened: (stream: QuicStream) => void): () => void {
    this.#openers.push(opened)
    if (this.state === "open") this.#admitOpeners()
    return () => remove(this.#openers, opened)
  }

  /** Calls back with the next stream that the other side opened. The result withdraws the wish. */
  accept(accepted: (stream: QuicStream) => void): () => void {
    const waiting = this.#arrived.shift()
    if (waiting !== undefined) accepted(waiting)
    else this.#acceptors.push(accepted)
    return () => remove(this.#acceptors, accepted)
  }

  wantRead(_stream: QuicStream): void {
    this.#host.schedule(this)
  }

  write(stream: QuicStream, chunk: Uint8Array, written: WriteCallback): void {
    if (stream.writeDone) {
      stream.pending = { chunk, written }
      return
    }
    const sent = this.#send(stream, chunk)
    if (sent === chunk.length) {
      written()
      return
    }
    stream.pending = { chunk: chunk.subarray(sent), written }
    if (!stream.writeDone) this.#blocked.add(stream)
  }

  finish(stream: QuicStream, finished: WriteCallback): void {
    if (!stream.writeDone) {
      this.#number(stream)
      stream.writeDone = true
      this.#ends.finish(stream)
    }
    finished()
  }

  giveUpWrite(stream: QuicStream, code: number): void {
    stream.writeDone = true
    this.#blocked.delete(stream)
    if (stream.number >= 0) this.#abandoned.reset(stream.number, code)
  }

  giveUpRead(stream: QuicStream, code: number): void {
    stream.readDone = true
    stream.wantsData = false
    if (stream.number >= 0) this.#abandoned.stop(stream.number, code)
  }

  release(stream: QuicStream): void {
    this.#blocked.delete(stream)
    if (this.#unnumbered.delete(stream)) {
      this.#host.schedule(this)
      return
    }
    if (!this.#streams.delete(stream.number) || this.state === "ended") return
    const abandonedWrite = !stream.writeDone
    if (abandonedWrite) this.giveUpWrite(stream, 0)
    if (!stream.readDone) {
      if (abandonedWrite) this.#abandoned.discard(stream.number)
      else this.giveUpRead(stream, 0)
    }
    this.#host.schedule(this)
  }

  // ── end ────────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Closes with an application code, or with a transport error code (RFC 9000 §20.1) when not `application`. */
  close(code: number, text: string, application = true): void {
    if (this.state === "ended") return
    // Probes of the handshake that are due would be sent in place of the farewell.
    this.#host.transmit(this, LAST_WORD_PACKETS)
    try {
      this.native.close(application, code, Buffer.from(text).subarray(0, CLOSE_TEXT_BYTES))
    } catch {
      // Closed already.
    }
    this.#host.sendLastWord(this)
    this.end(new Closed({ by: "local", code, application, text }))
  }

  /** Takes the connection out of service, without a word to the other side. */
  end(reason: EndReason): void {
    if (this.state === "ended") return
    this.state = "ended"
    this.endReason = reason
    const error = new TransportError({ reason })
    for (const stream of [...this.#streams.values(), ...this.#unnumbered]) stream.connectionEnded(error)
    this.#streams.clear()
    this.#unnumbered.clear()
    this.#blocked.clear()
    this.#abandoned.clear()
    this.#ends.clear()
    this.#arrived.length = 0
    this.#acceptors.length = 0
    this.#openers.length = 0
    this.#probes.length = 0
    this.#host.forget(this)
    for (const ender of this.#enders) ender(reason)
    this.#enders.clear()
  }

  /** Calls back once when the connection is over. The result withdraws the wish. */
  onEnd(ended: (reason: EndReason) => void): () => void {
    this.#enders.add(ended)
    return () => this.#enders.delete(ended)
  }

  /** Calls back when anything has come from the other side after now. */
  probe(answered: () => void): () => void {
    const probe = { received: this.native.stats().recv, answered }
    this.#probes.push(probe)
    this.native.sendAckEliciting()
    this.#host.schedule(this)
    return () => remove(this.#probes, probe)
  }

  // ── the parts of a turn ────────────────────────────────────────────────────────────────────────────────────────────

  #read(): boolean {
    let more = false
    const stride = 1 + (this.#streams.size >> 4)
    this.#turns = (this.#turns + 1) % stride
    for (const number of this.native.readable()) {
      const stream = this.#streams.get(number)
      if (stream === undefined) {
        const theirs = (number & 1) === (this.isServer ? 0 : 1)
        if (!this.#abandoned.drop(number) && theirs) this.#arrive(number)
        continue
      }
      if (stream.wantsData) {
        if (this.#ends.arrived(stream) && this.#deliver(stream)) more = true
      } else if (!stream.readDone && (number >> 2) % stride === this.#turns) {
        // A few of those that are not being read, in rotation: looking at thousands in each turn would cost too much.
        this.#noticeReset(stream)
      }
    }
    return more
  }

  /** Reads for one stream; true when there may be more. */
  #deliver(stream: QuicStream): boolean {
    const { readBuffer } = this.#host
    let budget = BURST_READ_BYTES
    while (stream.wantsData && budget > 0) {
      const space = readBuffer.space()
      let received: [number, boolean] | null
      try {
        received = this.native.streamRecv(stream.number, space)
      } catch (error) {
        this.#readFailed(stream, error)
        return false
      }
      if (received === null) return false
      const [bytes, ended] = received
      budget -= bytes
      if (bytes > 0) {
        readBuffer.consumed(bytes)
        stream.deliver(space.subarray(0, bytes))
      }
      if (ended) {
        stream.deliverEnd()
        return false
      }
    }
    return stream.wantsData
  }

  #readFailed(stream: QuicStream, error: unknown): void {
    this.#abandoned.reap(stream.number)
    stream.deliverReset(errorCode(error, "StreamReset") ?? 0)
  }

  /** Looks, without taking data, whether the other side has given up a stream that nobody reads at the moment. */
  #noticeReset(stream: QuicStream): void {
    try {
      this.native.streamRecv(stream.number, EMPTY)
    } catch (error) {
      if (errorCode(error, "StreamReset") !== undefined) this.#readFailed(stream, error)
    }
  }

  /** Looks, without writing, whether the other side has stopped reading a stream that nobody writes at the moment. */
  #noticeStop(stream: QuicStream): void {
    try {
      this.native.streamCapacity(stream.number)
    } catch (error) {
      const code = errorCode(error, "StreamStopped")
      if (code !== undefined) stream.deliverStop(code)
    }
  }

  #arrive(number: number): void {
    const stream = new QuicStream(this, number)
    this.#streams.set(number, stream)
    if (this.#acceptors.length === 0 && this.#arrived.length >= ACCEPT_STREAMS) {
      stream.destroy()
      return
    }
    const acceptor = this.#acceptors.shift()
    if (acceptor === undefined) this.#arrived.push(stream)
    else acceptor(stream)
  }

  #write(): void {
    let left = Math.min(this.#blocked.size, BURST_WRITERS)
    for (const stream of this.#blocked) {
      if (left-- === 0) return
      const pending = stream.pending
      this.#blocked.delete(stream)
      if (pending === undefined) continue
      const sent = this.#send(stream, pending.chunk)
      if (stream.writeDone) continue
      if (sent === pending.chunk.length) {
        stream.pending = undefined
        pending.written()
      } else {
        if (sent > 0) pending.chunk = pending.chunk.subarray(sent)
        this.#blocked.add(stream)
      }
    }
  }

  /** Gives bytes to quiche; how many it took. */
  #send(stream: QuicStream, chunk: Uint8Array): number {
    this.#number(stream)
    try {
      const sent = this.native.streamSend(stream.number, chunk, false)
      if (sent === null) return 0
      this.#ends.written(stream)
      this.#host.schedule(this)
      return sent
    } catch (error) {
      this.#writeFailed(stream, error)
      return 0
    }
  }

  #writeFailed(stream: QuicStream, error: unknown): void {
    const code = errorCode(error, "StreamStopped")
    if (code !== undefined) stream.deliverStop(code)
    else queueMicrotask(() => stream.destroy(error as Error))
  }

  #number(stream: QuicStream): void {
    if (stream.number >= 0) return
    stream.number = this.#nextNumber
    this.#nextNumber += 4
    this.#unnumbered.delete(stream)
    this.#streams.set(stream.number, stream)
  }

  #admitOpeners(): void {
    while (this.#openers.length > 0 && this.streamsLeft > 0) {
      const stream = new QuicStream(this, -1)
      this.#unnumbered.add(stream)
      this.#openers.shift()!(stream)
    }
  }

  #answerProbes(): void {
    const received = this.native.stats().recv
    for (const probe of [...this.#probes]) {
      if (received <= probe.received) continue
      remove(this.#probes, probe)
      probe.answered()
    }
  }

  #noticeEnd(): void {
    if (this.state === "ended" || !(this.native.isDraining() || this.native.isClosed())) return
    const byPeer = this.native.peerError()
    const error = byPeer ?? this.native.localError()
    if (error === null || (byPeer === null && this.native.isTimedOut())) {
      this.end(new Lost())
      return
    }
    this.end(
      new Closed({
        by: byPeer === null ? "local" : "peer",
        code: error.errorCode,
        application: error.isApp,
        text: Buffer.from(error.reason).toString()
      })
    )
  }
}

const remove = <A>(list: Array<A>, item: A): void => {
  const at = list.indexOf(item)
  if (at >= 0) list.splice(at, 1)
}
