/** A router, as far as NAT-PMP goes: what it answers to a request. */

export interface Router {
  /** Its address outside. */
  readonly host: string
  /** How long it has been running. */
  readonly epochSeconds: number
  /** The port outside for one of ours; undefined: it does not allow that. A lifetime of 0 ends it. */
  readonly grant: (
    protocol: "udp" | "tcp",
    internalPort: number,
    wished: number,
    lifetimeSeconds: number
  ) => number | undefined
}

/** Undefined: it is no request. */
export const answerTo = (bytes: Uint8Array, { host, epochSeconds, grant }: Router): Uint8Array | undefined => {
  const request = Buffer.from(bytes)
  const operation = request[1]
  const answer = Buffer.alloc(operation === 0 ? 12 : 16)
  answer.writeUInt8(128 + (operation ?? 0), 1)
  answer.writeUInt32BE(epochSeconds, 4)
  if (operation === 0) {
    answer.set(host.split(".").map(Number), 8)
    return answer
  }
  if ((operation !== 1 && operation !== 2) || request.length !== 12) return undefined
  const [internalPort, wished, lifetime] = [request.readUInt16BE(4), request.readUInt16BE(6), request.readUInt32BE(8)]
  const port = grant(operation === 1 ? "udp" : "tcp", internalPort, wished, lifetime)
  if (port === undefined) answer.writeUInt16BE(2, 2)
  answer.writeUInt16BE(internalPort, 8)
  answer.writeUInt16BE(lifetime === 0 ? 0 : (port ?? 0), 10)
  answer.writeUInt32BE(lifetime, 12)
  return answer
}
