/** The numbers of the QUIC transport, each with its reason. Times in milliseconds, sizes in bytes. */

/** Length of the connection ids we choose: enough that guessing or colliding is hopeless. */
export const CONNECTION_ID_BYTES = 8

/** Payload of the packets we send: passes PPPoE, VPNs and mobile networks without fragmentation. */
export const PACKET_BYTES = 1350

/** Largest packet that is taken in: upstream sends up to 1,452, and a longer one may come over a local link. */
export const RECEIVE_PACKET_BYTES = 65_527

/** Smallest datagram that may start a connection (RFC 9000 §14.1). */
export const INITIAL_PACKET_BYTES = 1200

/** Idle timeout and keep-alive of upstream, which the other side may be. */
export const IDLE_TIMEOUT_MILLIS = 20_000
export const KEEP_ALIVE_MILLIS = 10_000

/** A handshake that takes longer than this at the listening side is given up. */
export const HANDSHAKE_MILLIS = 10_000

/**
 * Handshakes not finished yet: above the first number each newcomer proves its address (Retry), above the second it is
 * ignored. Those that failed at their first packet count for this long towards the first number.
 */
export const RETRY_ABOVE_HALF_OPEN = 64
export const MAX_HALF_OPEN = 1_024
export const FAILURES_MILLIS = 1_000

/** Streams that wait to be accepted. */
export const ACCEPT_STREAMS = 1_024

/** Raw datagrams that wait to be received. */
export const DATAGRAM_QUEUE = 64

/** Packets sent for one connection before the next one has its turn. */
export const BURST_PACKETS = 64

/** Bytes read for one stream before the next one has its turn. */
export const BURST_READ_BYTES = 256 * 1024

/** Stalled writers that are tried again in one turn. */
export const BURST_WRITERS = 128

/** Reset streams that are looked at in one turn, whether quiche can free them. */
export const BURST_REAPED = 16

/** Packets queued in the process because the socket's buffer is full: above this, sending pauses. */
export const SEND_QUEUE_BYTES = 4 * 1024 * 1024

/** Buffers of the socket; the system may grant less (net.core.rmem_max, wmem_max). */
export const SOCKET_BUFFER_BYTES = 7 * 1024 * 1024

/**
 * How long the rest of a stream that was given up is read and dropped before the other side is told to stop. quiche 0.18
 * does not free a stream whose read half was shut down before its end came, so the end is waited for.
 */
export const DISCARD_MILLIS = 2_000

/** With a next timer further away than this, quiche waits for no acknowledgement: retransmission timers are shorter. */
export const QUIET_MILLIS = 5_000

/** Added to a round trip for what the other side and the event loop take, before something counts as acknowledged. */
export const SETTLE_MILLIS = 5

/** How often an end without bytes waits longer, or is sent again, because packets were lost since. */
export const END_COPIES = 6

/** How many packets take it each time, unless all bytes before it have surely arrived. */
export const END_BURST = 3

/** After this time without a lost packet, an end has arrived: the loss would have been noticed. */
export const END_CERTAIN_MILLIS = 1_000

/** Packets sent to say goodbye. quiche 0.18 would go on for ever when a probe of the handshake is due. */
export const LAST_WORD_PACKETS = 8

/** How long a closed connection answers late packets with its last word (RFC 9000 §10.2.1), and how often. */
export const CLOSED_ANSWER_MILLIS = 3_000
export const CLOSED_ANSWERS = 8

/**
 * Length of a stateless reset: the smallest one that may be one (RFC 9000 §10.3), and one that needs not be longer. Strays
 * that are looked at in a second, since each costs more than to drop it.
 */
export const MIN_RESET_BYTES = 21
export const MAX_RESET_BYTES = 43
export const STRAYS_PER_SECOND = 128

/** Longest close reason that travels. */
export const CLOSE_TEXT_BYTES = 1_000

/** How much a connection may make us hold. */
export interface Credit {
  /** Concurrent streams that the other side may open. */
  readonly streams: number
  /** Bytes in flight for a new stream, and for one whose reader keeps up on a long path. */
  readonly streamBytes: number
  readonly maxStreamBytes: number
  /** Bytes in flight for all streams together. */
  readonly connectionBytes: number
}

/**
 * For a peer that proved who it is. There is no bound over all streams: quiche 0.18 never gives back the credit of bytes
 * that were in flight when a stream was reset, so any bound would be used up one day; and under a bound a few stalled
 * readers stop everyone else.
 */
export const PEER_CREDIT: Credit = {
  streams: 10_000,
  streamBytes: 1024 * 1024,
  maxStreamBytes: 16 * 1024 * 1024,
  connectionBytes: 2 ** 50
}

/** For a listener that lets anyone in: enough for messages, little for an attacker. */
export const STRANGER_CREDIT: Credit = {
  streams: 2_048,
  streamBytes: 64 * 1024,
  maxStreamBytes: 1024 * 1024,
  connectionBytes: 4 * 1024 * 1024
}
