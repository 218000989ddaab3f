/**
 * `http://` and `https://` beside the service: an HTTP/1.1 server on every stream of the tunnel, which passes requests on to
 * the service over connections that it keeps.
 */
import type { Duplex } from "node:stream"
import { Duration, Effect } from "effect"
import type { HttpUrl } from "../../domain/EndpointUrl.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import type { ServiceTls } from "../destination/dialService.ts"
import { noFacts, type StreamFacts, type StreamService } from "../destination/StreamService.ts"
import { EndpointError, ServiceUnreachable } from "../EndpointError.ts"
import { DEFAULT_DIAL_TIMEOUT } from "../makeDialer.ts"
import { problems, respond } from "./errorPage.ts"
import { exchange, type Forward, type Visit } from "./exchange.ts"
import { withForwarded } from "./forwarded.ts"
import { makeHttpServer } from "./HttpServer.ts"
import { DEFAULT_LIMITS, type HttpLimits } from "./limits.ts"
import { below, endToEnd, hostOf, targetOf } from "./requestHead.ts"
import { DIAL_TIMED_OUT, ServiceAgent } from "./ServiceAgent.ts"
import { serveStream } from "./serveStream.ts"

export interface HttpDestinationOptions {
  readonly name: string
  readonly url: HttpUrl
  /** Set for https. */
  readonly tls?: ServiceTls | undefined
  /** Whether the service sees the Host that the user asked for, instead of the URL's. */
  readonly preserveHost?: boolean | undefined
  readonly dialTimeout?: Duration.Duration | undefined
  readonly limits?: Partial<HttpLimits> | undefined
}

/** The service as a destination has it; connections to it end with the Scope. */
export const httpDestination = Effect.fnUntraced(function* (options: HttpDestinationOptions) {
  const { name, url, preserveHost = false, dialTimeout = DEFAULT_DIAL_TIMEOUT } = options
  // The source has refused heads that take longer than its own, stricter limit.
  const limits = { ...DEFAULT_LIMITS, headMillis: 30_000, ...options.limits }
  const tls = url._tag === "https" ? (options.tls ?? { trust: undefined, identity: undefined }) : undefined
  const agent = yield* Effect.acquireRelease(
    Effect.sync(() => new ServiceAgent(url, tls, Duration.toMillis(dialTimeout))),
    (agent) => Effect.sync(() => agent.destroy())
  )
  const context = yield* Effect.context<never>()
  const log = (effect: Effect.Effect<void>) => void Effect.runForkWith(context)(effect)
  const facts = new WeakMap<Duplex, StreamFacts>()

  const forwarded = ({ req, upgrade }: Visit): Forward => {
    const { user, secure } = facts.get(req.socket) ?? noFacts
    const host = hostOf(req)
    return {
      path: below(url.basePath, url.query, targetOf(req)!.path),
      host: preserveHost && host !== "" ? host : url.authority,
      lines: withForwarded(endToEnd(req.rawHeaders), { address: user?.host, secure, host }),
      // A connection that changes its protocol is never given back; its halves end one by one.
      connection: upgrade === undefined ? { agent } : { createConnection: () => agent.dial(true) }
    }
  }

  const answer = async (visit: Visit): Promise<void> => {
    const { req, res } = visit
    for (let attempt = 1; ; attempt++) {
      const outcome = await exchange(visit, forwarded(visit), limits)
      if (outcome._tag === "Answered" || outcome._tag === "Cut") return
      if (outcome._tag === "TimedOut") {
        return respond(req, res, outcome.who === "user" ? problems.stalled : problems.serviceTimedOut(name))
      }
      const { code, message } = outcome.cause as NodeJS.ErrnoException
      // A kept connection may be closed while a request is on its way to it.
      if (outcome.resendable && attempt <= MAX_RESENDS && code === "ECONNRESET" && !res.destroyed) continue
      if (!res.destroyed)
        log(Effect.logWarning("service.unreachable", message).pipe(Effect.annotateLogs({ endpoint: name })))
      const problem =
        code === DIAL_TIMED_OUT || code === "ETIMEDOUT" ? problems.serviceTimedOut : problems.serviceRefused
      return respond(req, res, problem(name))
    }
  }

  const server = yield* makeHttpServer({ limits, upgrades: true, visit: (visit) => void answer(visit) })

  const address = SocketAddress.format({ host: url.host, port: url.port })
  const reach = Effect.callback<void, EndpointError>((resume) => {
    if (agent.isReached) return resume(Effect.void)
    const socket = agent.dial(false)
    const failed = ({ code, message }: NodeJS.ErrnoException) => {
      const reason = new ServiceUnreachable({
        address,
        code: code === DIAL_TIMED_OUT ? "timed out" : (code ?? message)
      })
      resume(Effect.fail(new EndpointError({ reason })))
    }
    socket.on("error", failed).once(tls === undefined ? "connect" : "secureConnect", () => {
      agent.keep(socket)
      resume(Effect.void)
    })
    return Effect.sync(() => socket.destroy())
  })

  return {
    reach,
    serve: (stream, known = noFacts) =>
      Effect.suspend(() => {
        facts.set(stream, known)
        return serveStream(server, stream)
      })
  } satisfies StreamService
})

/** One for each connection that may have been kept too long is too many; two tell a bad moment from a bad service. */
const MAX_RESENDS = 2
