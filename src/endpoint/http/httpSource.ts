/**
 * `http://` and `https://` on the user's side: an HTTP server whose every request is carried to a destination.
 *
 * Each request has a stream of its own, which is dialed for it: so each is balanced, a dead destination costs one attempt and
 * no request, and what a stream begins with (a header of the PROXY protocol) is true of its only user. A stream is no
 * handshake, and an http destination keeps its connections to the service.
 */
import { type Duration, Effect, FiberSet, type Scope } from "effect"
import { raceLater, type Watch } from "../../internal/raceLater.ts"
import type { PeerError } from "../../peer/PeerError.ts"
import { type EndpointError, userGone } from "../EndpointError.ts"
import type { Connected } from "../makeDialer.ts"
import type { Listen } from "../source/listenUsers.ts"
import { proxyHeader } from "../source/proxyHeader.ts"
import type { UserFacts } from "../source/User.ts"
import { dialProblem } from "./dialProblem.ts"
import { problems, respond } from "./errorPage.ts"
import { exchange, type Outcome, type Visit } from "./exchange.ts"
import { withForwarded } from "./forwarded.ts"
import { DEFAULT_LIMITS, type HttpLimits } from "./limits.ts"
import { below, endToEnd, hostOf, targetOf } from "./requestHead.ts"
import { listenForUsers } from "./userListener.ts"

/** A stream to a destination: balanced and tried again as its source is told to. */
export type Dial = Effect.Effect<Connected, PeerError, Scope.Scope>

export interface HttpSourceOptions {
  readonly name: string
  readonly listen: Listen
  /** What comes before the path of every request. */
  readonly basePath?: string | undefined
  /** Whether the destination sees the Host that the user asked for, instead of the name of the endpoint. */
  readonly preserveHost?: boolean | undefined
  readonly limits?: Partial<HttpLimits> | undefined
}

/** Listens, and runs for as long as the Scope lives. Where it listens, as text. */
export const httpSource = Effect.fnUntraced(function* (dial: Dial, options: HttpSourceOptions) {
  const { name, listen, basePath = "", preserveHost = false } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const runVisit = yield* FiberSet.makeRuntime<never, void, never>()

  const carryOn = (visit: Visit, facts: UserFacts) =>
    Effect.gen(function* () {
      const { req } = visit
      const { stream, proxy } = yield* dial
      if (proxy !== "none") stream.write(proxyHeader(proxy, facts))
      const host = hostOf(req)
      const forward = {
        path: below(basePath, "", targetOf(req)!.path),
        host: preserveHost && host !== "" ? host : name,
        lines: withForwarded(endToEnd(req.rawHeaders), {
          address: facts.source._tag === "tcp" ? facts.source.host : undefined,
          secure: facts.tls !== undefined,
          host
        }),
        connection: { createConnection: () => stream }
      }
      const outcome = yield* Effect.promise(() => exchange(visit, forward, limits))
      // The end of the stream is on its way, and would be overtaken by its Scope.
      if (outcome._tag === "Answered") yield* Effect.timeoutOption(closed(stream), LEAVE_WITHIN)
      return outcome
    }).pipe(Effect.scoped)

  const carry = Effect.fnUntraced(function* (visit: Visit, facts: UserFacts) {
    const { req, res } = visit
    const outcome: Outcome = yield* carryOn(visit, facts).pipe(
      // What was not answered, and does no harm twice, is asked of somebody else.
      Effect.filterOrElse(
        (first) => first._tag !== "Unanswered" || !first.resendable,
        () => carryOn(visit, facts)
      )
    )
    if (outcome._tag === "Unanswered") {
      yield* Effect.logWarning("request.failed", outcome.cause.message)
      respond(req, res, problems.serviceRefused(name))
    } else if (outcome._tag === "TimedOut") {
      respond(req, res, outcome.who === "user" ? problems.stalled : problems.serviceTimedOut(name))
    }
  })

  return yield* listenForUsers({
    name,
    listen,
    http2: true,
    limits,
    visit: (visit, facts) => {
      const { req, res } = visit
      runVisit(
        raceLater(carry(visit, facts), whenUserGone(res)).pipe(
          Effect.catchTags({
            PeerError: (error) =>
              Effect.andThen(
                Effect.logWarning("connection.failed", error.message),
                Effect.sync(() => respond(req, res, dialProblem(name, error)))
              ),
            EndpointError: () => Effect.void
          }),
          Effect.tapCause((cause) => Effect.logDebug("request ended", cause)),
          Effect.ignoreCause,
          Effect.annotateLogs({ endpoint: name })
        )
      )
    }
  })
})

/** How long the other end may take to see that a stream is over. */
const LEAVE_WITHIN: Duration.Input = "2 seconds"

const closed = (stream: Connected["stream"]): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (stream.closed) return resume(Effect.void)
    const done = () => resume(Effect.void)
    stream.once("close", done).resume()
    return Effect.sync(() => stream.off("close", done))
  })

/** When the user goes away before he has his answer. */
export const whenUserGone =
  (res: Visit["res"]): Watch<never, EndpointError> =>
  (rival) => {
    const left = () => {
      if (!res.writableFinished) rival(userGone)
    }
    if (res.closed) left()
    else res.once("close", left)
    return () => res.off("close", left)
  }
