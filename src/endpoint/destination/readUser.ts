/**
 * Whose stream it is, by the header that was asked for: takes exactly its bytes from the beginning of a stream. A stream
 * without one is left as it is and nothing is known of its user: upstream's sources write it for tcp and tls only.
 */
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import { after, raceLater } from "../../internal/raceLater.ts"
import { EndpointError, HeaderUnreadable } from "../EndpointError.ts"
import { parseProxyHeader } from "./parseProxyHeader.ts"
import { noFacts, type StreamFacts } from "./StreamService.ts"

/** From the answer to the last byte of the header, or to the first one that is none of it. */
const WITHIN_MILLIS = 10_000

/** Fails when the header is broken, or nothing comes. */
export const readUser = (stream: Duplex): Effect.Effect<StreamFacts, EndpointError> =>
  raceLater(readHeader(stream), after(WITHIN_MILLIS, unreadable("it did not come in time")))

const unreadable = (why: string) =>
  Effect.suspend(() => Effect.fail(new EndpointError({ reason: new HeaderUnreadable({ why }) })))

const readHeader = (stream: Duplex) =>
  Effect.callback<StreamFacts, EndpointError>((resume) => {
    let bytes: Buffer = Buffer.alloc(0)
    const finish = (result: Effect.Effect<StreamFacts, EndpointError>) => {
      stop()
      resume(result)
    }
    const onReadable = () => {
      for (let part: Buffer | null = stream.read(); part !== null; part = stream.read()) {
        bytes = bytes.length === 0 ? part : Buffer.concat([bytes, part])
        const header = parseProxyHeader(bytes)
        if (header._tag === "Partial") continue
        if (header._tag === "Malformed") return finish(unreadable(header.why))
        const rest = header._tag === "Found" ? bytes.subarray(header.length) : bytes
        if (rest.length > 0) stream.unshift(rest)
        if (header._tag === "Absent") return finish(Effect.succeed(noFacts))
        const { source, secure } = header
        const user = source._tag === "tcp" || source._tag === "udp" ? source : undefined
        return finish(Effect.succeed({ user, secure }))
      }
    }
    const onEnd = () => finish(unreadable("the stream ended before its end"))
    const stop = () => stream.off("readable", onReadable).off("end", onEnd).off("close", onEnd)
    stream.on("readable", onReadable).on("end", onEnd).on("close", onEnd)
    if (stream.readableEnded || stream.destroyed) onEnd()
    else onReadable()
    return Effect.sync(stop)
  })
