/** The numbers of the TCP transport, each with its reason. Times in milliseconds, sizes in bytes. */

/** The same as that of QUIC: one path of a peer is given up as late as the other. */
export const IDLE_TIMEOUT_MILLIS = 20_000
export const KEEP_ALIVE_MILLIS = 10_000

/** What newcomers get for TLS and the first byte, before they are known. */
export const HANDSHAKE_MILLIS = 5_000
/** Newcomers at once; further ones are closed. */
export const MAX_HALF_OPEN = 1_024

/** How long the farewell of a closed connection may take to be read, and when the whole socket is closed. */
export const LINGER_MILLIS = 1_000
export const CLOSE_MILLIS = 200

/** How often it is looked whether something is due. */
export const MAX_TICK_MILLIS = 1_000

/** Connections that the system keeps until they are accepted. */
export const BACKLOG = 1_024

/** Streams that wait to be accepted. */
export const ACCEPT_STREAMS = 1_024

/** Raw datagrams that wait to be received. */
export const DATAGRAM_QUEUE = 64

/** PINGs without an answer; what would be one more waits for an answer. */
export const MAX_PINGS = 32

/** Longest close reason that travels. */
export const CLOSE_TEXT_BYTES = 1_000

/** Streams that the HTTP/2 client keeps open for its server to take: at first, and when they were in demand. */
export const FIRST_SPARE_STREAMS = 4
export const MAX_SPARE_STREAMS = 64

/** Notes to the other side that it does not read, until it is closed. */
export const MAX_UNREAD_NOTES_BYTES = 256 * 1024

/** What a Duplex buffers in each direction before it pushes back. */
export const HIGH_WATER_BYTES = 64 * 1024

/** Headers are two words. */
export const HEADER_LIST_BYTES = 1_024
export const HEADER_PAIRS = 8

/**
 * Largest frame that is taken in. HTTP/2's smallest value: larger ones make nothing faster here, and keep the other streams
 * waiting.
 */
export const FRAME_BYTES = 16 * 1024

/** How much a connection may make us hold. */
export interface Credit {
  /** Concurrent streams, of both ends together. */
  readonly streams: number
  /** Bytes in flight for one stream, or received and not read. */
  readonly streamBytes: number
  /** What Node may hold for the connection, in MB. */
  readonly sessionMegabytes: number
  /** Resets at once, and a second: more close the connection ("rapid reset"). */
  readonly resets: number
}

/** For a peer that proved who it is. */
export const PEER_CREDIT: Credit = {
  streams: 10_000,
  streamBytes: 3 * 1024 * 1024,
  sessionMegabytes: 8_192,
  resets: 1_000_000
}

/**
 * For a listener that lets anyone in: enough for messages, little for an attacker. There is no bound over all streams,
 * because Node gives back the connection's window as soon as bytes arrive; so it is streams times bytes that counts, 4 MiB.
 */
export const STRANGER_CREDIT: Credit = {
  streams: 512,
  streamBytes: 8 * 1024,
  sessionMegabytes: 16,
  resets: 1_000
}

/** Bytes in flight of all streams together. Node gives them back at once, so this bounds nothing but what is on the way. */
export const CONNECTION_BYTES = 64 * 1024 * 1024
