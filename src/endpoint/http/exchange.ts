/**
 * One request carried to whoever answers it, and the answer back. Plain Node: bodies are piped, never held.
 *
 * - Everything that belongs to the exchange passes: 1xx answers, trailers, both bodies at once, an early answer.
 * - A body that ends early on one side is cut on the other, never ended: nobody takes a part for the whole.
 * - A protocol that the service agrees to switch to turns the exchange into two joined streams.
 */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request, type ServerResponse } from "node:http"
import { constants, type Http2ServerResponse } from "node:http2"
import type { Duplex } from "node:stream"
import { splice } from "../../internal/splice.ts"
import { type HttpLimits, verdict } from "./limits.ts"
import { endToEnd, type FieldLines, framingOf, isHttp2, valuesOf } from "./requestHead.ts"

/** A request of a user, and where its answer goes. */
export interface Visit {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** Set when the user wants to go on with another protocol: its connection, and how to have it. */
  readonly upgrade?: { readonly protocol: string; readonly take: () => Duplex } | undefined
}

/** How the request goes on: its target, its own fields and its connection. */
export interface Forward {
  readonly path: string
  readonly host: string
  readonly lines: FieldLines
  readonly connection: Pick<RequestOptions, "agent" | "createConnection">
}

export type Outcome =
  | { readonly _tag: "Answered" }
  /** The answer was cut, or the user left: nothing can be said any more. */
  | { readonly _tag: "Cut"; readonly cause: string }
  /** Nothing was answered: the user can still be told. */
  | { readonly _tag: "Unanswered"; readonly cause: Error; readonly resendable: boolean }
  | { readonly _tag: "TimedOut"; readonly who: "user" | "service" }

/** Carries the request. Settles when the answer is out, or when there will be none; never rejects. */
export const exchange = (visit: Visit, forward: Forward, limits: HttpLimits): Promise<Outcome> =>
  new Promise((resolve) => {
    const { req, res, upgrade } = visit
    const framing = framingOf(req)
    let answer: IncomingMessage | undefined
    let over = false
    let moved = false
    let stillMillis = 0

    const settle = (outcome: Outcome) => {
      if (over) return
      over = true
      clearInterval(watch)
      req.off("data", onMoved)
      resolve(outcome)
    }
    const onMoved = () => {
      moved = true
    }
    const unanswered = (cause: Error) => {
      const resendable = framing._tag === "none" && upgrade === undefined && IDEMPOTENT.has(req.method ?? "")
      if (answer === undefined && !res.headersSent) settle({ _tag: "Unanswered", cause, resendable })
      else cut(cause.message)
    }
    /** An answer that is not whole must not look as if it were. */
    const cut = (cause: string) => {
      if (over) return
      settle({ _tag: "Cut", cause })
      out?.destroy()
      if ("stream" in res) (res as unknown as Http2ServerResponse).stream.close(constants.NGHTTP2_INTERNAL_ERROR)
      else req.socket.destroy()
    }

    const everyMillis = Math.max(1, Math.min(limits.stallMillis, limits.answerMillis) / 4)
    const watch = setInterval(() => {
      stillMillis = moved ? 0 : stillMillis + everyMillis
      const who = verdict(
        {
          moved,
          answered: answer !== undefined,
          requestComplete: req.complete || framing._tag === "none",
          requestBlocked: out?.writableNeedDrain === true,
          answerBlocked: res.writableNeedDrain === true,
          stillMillis
        },
        limits
      )
      moved = false
      if (who === "wait") return
      if (answer !== undefined) return cut("the user does not read")
      settle({ _tag: "TimedOut", who })
      out?.destroy()
    }, everyMillis)

    let out: ClientRequest | undefined
    try {
      out = request({
        method: req.method,
        path: forward.path,
        headers: requestLines(visit, forward),
        ...forward.connection
      } as RequestOptions)
    } catch (cause) {
      return unanswered(cause as Error)
    }

    out.on("error", unanswered)
    out.on("close", () => {
      if (framing._tag !== "none") req.unpipe(out).resume()
      if (answer === undefined) unanswered(new Error("the connection ended without an answer"))
    })
    // Each part of a head is on its way at once: who waits for it may not send before he has it.
    out.on("information", ({ statusCode, rawHeaders }) => {
      if (res.headersSent || req.httpVersion === "1.0") return
      if (statusCode === 100) res.writeContinue()
      // The first releases of Node 24 lack it.
      else res.writeInformation?.(statusCode, fieldsOf(endToEnd(rawHeaders as unknown as FieldLines)))
    })
    out.on("response", (response) => {
      if (over) return void response.destroy()
      answer = response
      moved = true
      response.on("data", onMoved).on("error", ({ message }) => cut(message))
      response.on("close", () => response.complete || cut("the answer was cut"))
      try {
        writeHead(req, res, response)
      } catch (cause) {
        return cut((cause as Error).message)
      }
      response.pipe(res, { end: false })
      response.on("end", () => {
        if (!response.complete) return
        const trailers = pairsOf(endToEnd(response.rawTrailers))
        if (trailers.length > 0) addTrailers(res, trailers)
        res.end()
      })
      setImmediate(() => {
        if (!res.writableEnded && !res.destroyed) res.flushHeaders()
      })
    })
    out.on("upgrade", (response, socket, head) => {
      if (upgrade === undefined || over) {
        socket.destroy()
        return unanswered(new Error("it switches to a protocol that was not asked for"))
      }
      answer = response
      const user = upgrade.take()
      const protocol = response.headers.upgrade ?? upgrade.protocol
      const lines = ["Connection", "Upgrade", "Upgrade", protocol, ...endToEnd(response.rawHeaders)]
      const fields = pairsOf(lines).map(([name, value]) => `${name}: ${value}\r\n`)
      user.write(`HTTP/1.1 101 Switching Protocols\r\n${fields.join("")}\r\n`, "latin1")
      if (head.length > 0) socket.unshift(head)
      clearInterval(watch)
      splice(user, socket, (error) =>
        settle(error === undefined ? { _tag: "Answered" } : { _tag: "Cut", cause: error.message })
      )
    })

    res.on("finish", () => settle({ _tag: "Answered" }))
    res.on("close", () => {
      if (upgrade !== undefined && answer?.statusCode === 101) return
      settle({ _tag: "Cut", cause: "the user left" })
      // An exchange that is complete leaves its connection to the next one.
      if (answer?.complete !== true || !req.complete) out?.destroy()
    })
    req.on("error", () => out?.destroy())
    req.on("close", () => req.complete || out?.destroy())

    if (framing._tag === "none") return void out.end()
    req.on("data", onMoved)
    req.pipe(out, { end: false })
    req.on("end", () => {
      // Cut short: the end of the stream, not of the body.
      if (!req.complete) return
      const trailers = pairsOf(endToEnd(req.rawTrailers))
      if (trailers.length > 0 && framing._tag === "chunked") out.addTrailers(trailers)
      out.end()
    })
  })

/** Methods that a request can be sent with twice (RFC 9110 §9.2.2). */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])

const requestLines = ({ req, upgrade }: Visit, { host, lines, connection }: Forward): Array<string> => {
  const framing = framingOf(req)
  const result = ["Host", host, ...lines]
  if (framing._tag === "length") result.push("Content-Length", framing.length)
  else if (framing._tag === "chunked") {
    result.push("Transfer-Encoding", "chunked")
    for (const value of valuesOf(req.rawHeaders, "trailer")) result.push("Trailer", value)
  } else if (!BODY_UNUSUAL.has(req.method ?? "")) result.push("Content-Length", "0")
  // That trailers are welcome is for the next hop to know as well; gRPC asks for it.
  const te = valuesOf(req.rawHeaders, "te").some((value) => /(?:^|,)\s*trailers\s*(?:,|$)/i.test(value))
  if (upgrade !== undefined) result.push("Connection", "Upgrade", "Upgrade", upgrade.protocol)
  else if (te) result.push("TE", "trailers", "Connection", connection.agent ? "keep-alive, TE" : "close, TE")
  return result
}

/** At other methods it is said that there is no body, with a length of zero (RFC 9110 §8.6). */
const BODY_UNUSUAL = new Set(["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"])

const writeHead = (req: IncomingMessage, res: ServerResponse, answer: IncomingMessage): void => {
  const { statusCode = 502, statusMessage } = answer
  const lines = endToEnd(answer.rawHeaders)
  const length = answer.headers["content-length"]
  if (length !== undefined) lines.push("Content-Length", length)
  if (isHttp2(req)) {
    res.writeHead(statusCode, fieldsOf(lines))
    return
  }
  const chunked = req.httpVersion !== "1.0" && answer.headers["transfer-encoding"] !== undefined
  if (chunked && req.method !== "HEAD" && ![204, 304].includes(statusCode)) {
    lines.push("Transfer-Encoding", "chunked")
    for (const value of valuesOf(answer.rawHeaders, "trailer")) lines.push("Trailer", value)
  }
  res.writeHead(statusCode, statusMessage, lines)
}

const addTrailers = (res: ServerResponse, trailers: Array<[string, string]>): void => {
  // That of HTTP/2 takes an object only.
  if ("stream" in res) res.addTrailers(Object.fromEntries(trailers))
  else res.addTrailers(trailers)
}

const pairsOf = (lines: FieldLines): Array<[string, string]> =>
  Array.from({ length: lines.length / 2 }, (_, at) => [lines[2 * at]!, lines[2 * at + 1]!])

/** The fields by name; values of fields that come more than once in a list. */
const fieldsOf = (lines: FieldLines): Record<string, string | Array<string>> => {
  const fields = new Map<string, Array<string>>()
  for (const [name, value] of pairsOf(lines)) {
    const values = fields.get(name.toLowerCase())
    if (values === undefined) fields.set(name.toLowerCase(), [value])
    else values.push(value)
  }
  return Object.fromEntries([...fields].map(([name, values]) => [name, values.length > 1 ? values : values[0]!]))
}
