/**
 * `ws://` and `wss://` on the user's side: every WebSocket is one stream of bytes to a destination, as upstream has it. The
 * destination is dialed before the WebSocket is accepted, so that a user is told why there is none.
 */
import { Effect, FiberSet } from "effect"
import { WebSocketServer } from "ws"
import { join } from "../../internal/join.ts"
import { raceLater } from "../../internal/raceLater.ts"
import type { Listen } from "../source/listenUsers.ts"
import { proxyHeader } from "../source/proxyHeader.ts"
import type { UserFacts } from "../source/User.ts"
import { dialProblem } from "./dialProblem.ts"
import { type Problem, problems, respond } from "./errorPage.ts"
import type { Visit } from "./exchange.ts"
import { type Dial, whenUserGone } from "./httpSource.ts"
import { DEFAULT_LIMITS, type HttpLimits } from "./limits.ts"
import { hostOf, targetOf } from "./requestHead.ts"
import { listenForUsers } from "./userListener.ts"
import { WebSocketStream } from "./WebSocketStream.ts"

export interface WebSocketSourceOptions {
  readonly name: string
  readonly listen: Listen
  /** The path to ask for, or with a slash at its end everything below it; empty or undefined: any. */
  readonly path?: string | undefined
  readonly limits?: Partial<HttpLimits> | undefined
}

/** A message is held in memory until it is whole. */
const MAX_MESSAGE = 4 * 1024 * 1024

/** Listens, and runs for as long as the Scope lives. Where it listens, as text. */
export const webSocketSource = Effect.fnUntraced(function* (dial: Dial, options: WebSocketSourceOptions) {
  const { name, listen, path = "" } = options
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  const runVisit = yield* FiberSet.makeRuntime<never, void, never>()
  const sockets = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_MESSAGE
  })

  const carry = Effect.fnUntraced(function* ({ req, res, upgrade }: Required<Visit>, facts: UserFacts) {
    const { stream, proxy } = yield* raceLater(dial, whenUserGone(res))
    if (proxy !== "none") stream.write(proxyHeader(proxy, facts))
    const accepted = Effect.callback<WebSocketStream>((resume) => {
      const connection = upgrade!.take()
      // Whoever left as the dial ended, which is not told a second time.
      if (connection.closed) return resume(Effect.interrupt)
      // It answers a handshake that is wrong by itself, and closes.
      sockets.handleUpgrade(req, connection, Buffer.alloc(0), (socket) =>
        resume(Effect.succeed(new WebSocketStream(socket)))
      )
      connection.once("close", () => resume(Effect.interrupt))
    })
    yield* join(yield* accepted, stream)
  }, Effect.scoped)

  const visit = ({ req, res, upgrade }: Visit, facts: UserFacts): void => {
    const refusal = refusalOf({ req, upgrade }, path)
    if (refusal !== undefined || upgrade === undefined) {
      respond(req, res, refusal ?? NO_UPGRADE)
      return
    }
    runVisit(
      carry({ req, res, upgrade }, facts).pipe(
        Effect.catchTag("PeerError", (error) =>
          Effect.andThen(
            Effect.logWarning("connection.failed", error.message),
            Effect.sync(() => respond(req, res, dialProblem(name, error)))
          )
        ),
        Effect.tapCause((cause) => Effect.logDebug("WebSocket ended", cause)),
        Effect.ignoreCause,
        Effect.annotateLogs({ endpoint: name })
      )
    )
  }

  return yield* listenForUsers({ name, listen, http2: false, limits, visit })
})

const NO_UPGRADE = problems.refused(426, "only WebSockets are spoken here")

const refusalOf = ({ req, upgrade }: Omit<Visit, "res">, expected: string): Problem | undefined => {
  const [path = ""] = targetOf(req)!.path.split("?")
  if (!matches(expected, path)) return problems.refused(404, "there is no WebSocket at this path")
  if (upgrade?.protocol.toLowerCase() !== "websocket") return NO_UPGRADE
  const { origin } = req.headers
  const sameHost = origin === undefined || isSameHost(origin, hostOf(req))
  return sameHost ? undefined : problems.refused(403, "its Origin is another host")
}

/** A path is asked for exactly; one that ends with a slash stands for everything below it, none for everything. */
const matches = (expected: string, path: string): boolean =>
  expected === "" || (expected.endsWith("/") ? path.startsWith(expected) : path === expected)

/** A browser says which site opens the WebSocket: only the one that is asked may. */
const isSameHost = (origin: string, host: string): boolean => {
  const site = URL.parse(origin)
  return site !== null && site.host !== "" && site.host === URL.parse(`${site.protocol}//${host}`)?.host
}
