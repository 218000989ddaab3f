/** What users of an HTTP server may take: of its memory, of its sockets, and of its time. */
export interface HttpLimits {
  /** Bytes of a request's line and fields together. */
  readonly headBytes: number
  readonly headFields: number
  /** From the first moment of a connection, or of its next request, to the last byte of the head. */
  readonly headMillis: number
  /** How long a connection may stay without a request. */
  readonly idleMillis: number
  /** How long a body may stand still while its reader or writer is waited for; a slow one that moves is never cut. */
  readonly stallMillis: number
  /** From the last byte of a request to the first one of its answer. */
  readonly answerMillis: number
  readonly connections: number
  /** Requests at the same time, over all connections. Upgraded ones count until they end. */
  readonly requests: number
}

export const DEFAULT_LIMITS: HttpLimits = {
  headBytes: 16_384,
  headFields: 128,
  headMillis: 10_000,
  idleMillis: 120_000,
  stallMillis: 120_000,
  answerMillis: 300_000,
  connections: 4_096,
  requests: 2_048
}

/** Who is waited for when an exchange stands still, and therefore what to do about it. */
export interface Progress {
  /** Bytes that went through since the last look. */
  readonly moved: boolean
  /** The head of the answer has come. */
  readonly answered: boolean
  readonly requestComplete: boolean
  /** The next one does not take what the user sends. */
  readonly requestBlocked: boolean
  /** The user does not take what he is sent. */
  readonly answerBlocked: boolean
  /** Since anything moved. */
  readonly stillMillis: number
}

/** A service that has begun to answer may be silent for as long as it likes: it may wait for events. */
export const verdict = (progress: Progress, limits: HttpLimits): "wait" | "user" | "service" => {
  const { moved, answered, requestComplete, requestBlocked, answerBlocked, stillMillis } = progress
  if (moved) return "wait"
  if (answered) return answerBlocked && stillMillis >= limits.stallMillis ? "user" : "wait"
  if (!requestComplete && !requestBlocked) return stillMillis >= limits.stallMillis ? "user" : "wait"
  return stillMillis >= limits.answerMillis ? "service" : "wait"
}
