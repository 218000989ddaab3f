/** How Node's HTTP/2 is set up: what the other side may do, and what it can make us hold. */
import type { ClientSessionOptions, ServerSessionOptions, SessionOptions } from "node:http2"
import { type Credit, FRAME_BYTES, HEADER_LIST_BYTES, HEADER_PAIRS, MAX_PINGS, MAX_SPARE_STREAMS } from "./limits.ts"

/** Streams that do not count as the application's: spare ones, and the control stream. */
export const RESERVED_STREAMS = MAX_SPARE_STREAMS + 1

export const http2Options = (credit: Credit): SessionOptions & ClientSessionOptions & ServerSessionOptions => ({
  settings: {
    initialWindowSize: credit.streamBytes,
    maxConcurrentStreams: credit.streams + RESERVED_STREAMS,
    maxFrameSize: FRAME_BYTES,
    maxHeaderListSize: HEADER_LIST_BYTES,
    enablePush: false
  },
  maxHeaderListPairs: HEADER_PAIRS,
  maxOutstandingPings: MAX_PINGS,
  maxReservedRemoteStreams: 0,
  maxSessionMemory: credit.sessionMegabytes,
  peerMaxConcurrentStreams: credit.streams + RESERVED_STREAMS,
  streamResetBurst: credit.resets,
  streamResetRate: credit.resets
})
