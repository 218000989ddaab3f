/**
 * Packets that the kernel drops because a UDP socket's buffer is full: seen in `/proc/net/udp` on Linux, and told together
 * with what helps. Nothing else shows them: to QUIC they are lost packets.
 */
import { readFile } from "node:fs/promises"
import { isIPv6 } from "node:net"
import { endianness } from "node:os"
import { Clock, Duration, Effect } from "effect"
import * as SocketAddress from "../../domain/SocketAddress.ts"

const LOOK_EVERY = Duration.seconds(10)
const TELL_AGAIN_MILLIS = Duration.toMillis(Duration.hours(1))

/** What is advised at least and at most, in bytes. */
const MIN_ADVICE = 8 * 1024 * 1024
const MAX_ADVICE = 1024 * 1024 * 1024

export interface WatchedSocket {
  readonly address: SocketAddress.SocketAddress
  /** The receive buffer that was asked for, in bytes. */
  readonly wantedBytes: number
  /** What the system made of it, in bytes; Linux counts its own bookkeeping in, and says twice as much. */
  readonly grantedBytes: number
}

/** Looks every ten seconds, for ever; ends where there is nothing to look at. */
export const watchDrops = Effect.fnUntraced(function* (socket: WatchedSocket) {
  if (process.platform !== "linux") return
  const { address, wantedBytes, grantedBytes } = socket
  const file = `/proc/net/${isIPv6(address.host) ? "udp6" : "udp"}`
  let told: Told = { drops: 0, at: undefined }
  while (true) {
    yield* Effect.sleep(LOOK_EVERY)
    const table = yield* Effect.promise(() => readFile(file, "latin1").catch(() => ""))
    const drops = dropsOf(table, address)
    if (drops === undefined) return
    const [next, dropped] = notice(told, drops, yield* Clock.currentTimeMillis)
    told = next
    if (dropped === 0) continue
    yield* Effect.logWarning("socket.drops").pipe(
      Effect.annotateLogs({
        address: SocketAddress.format(address),
        dropped,
        buffer: grantedBytes,
        hint: advice(wantedBytes, grantedBytes)
      })
    )
  }
})

/** The counter when it was last told, and when that was. */
export interface Told {
  readonly drops: number
  readonly at: number | undefined
}

/** How many drops are to be told now: all since the last time, and at most once an hour. */
export const notice = (told: Told, drops: number, now: number): readonly [Told, number] =>
  drops <= told.drops || (told.at !== undefined && now - told.at < TELL_AGAIN_MILLIS)
    ? [told, 0]
    : [{ drops, at: now }, drops - told.drops]

/**
 * The counter of the socket that is bound to this address, from the text of `/proc/net/udp` or `udp6`. Nobody else has the
 * same address there: the table is that of our own network namespace, and our sockets share no port.
 */
export const dropsOf = (
  table: string,
  address: SocketAddress.SocketAddress,
  byteOrder: "LE" | "BE" = endianness()
): number | undefined => {
  const local = localAddress(address, byteOrder)
  for (const line of table.split("\n")) {
    const columns = line.trim().split(/\s+/)
    if (columns[1] === local) return Number(columns[12])
  }
  return undefined
}

/** As the kernel writes it: words of four bytes in its own order, in hexadecimal. */
const localAddress = ({ host, port }: SocketAddress.SocketAddress, byteOrder: "LE" | "BE"): string => {
  const bytes = Buffer.from(SocketAddress.toBytes(host) ?? [])
  if (byteOrder === "LE") bytes.swap32()
  return `${bytes.toString("hex")}:${port.toString(16).padStart(4, "0")}`.toUpperCase()
}

const advice = (wantedBytes: number, grantedBytes: number): string => {
  const inFull = grantedBytes >= 2 * wantedBytes
  const needed = Math.max(MIN_ADVICE, inFull ? 2 * wantedBytes : wantedBytes)
  const bytes = Math.min(MAX_ADVICE, 2 ** Math.ceil(Math.log2(needed)))
  const raise = inFull ? `, set tuning.receive-buffer to ${bytes},` : ""
  const why = inFull ? "" : ", because the system granted less than tuning.receive-buffer asks for"
  return `run "sysctl -w net.core.rmem_max=${bytes}"${raise} and start connet again${why}`
}
