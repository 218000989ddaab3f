/**
 * The status of a role over HTTP: any path answers GET and HEAD with the same JSON, made anew for each request. Nobody is
 * asked who he is, so what is told must be nobody's secret, and the address is one for those who may know it.
 *
 * Heads, requests, idle connections and their number are bounded; what a reader does not take waits in memory once, until
 * his connection stands still for too long.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { type AddressInfo, isIP } from "node:net"
import { Effect, FiberSet, type Scope } from "effect"
import * as SocketAddress from "../domain/SocketAddress.ts"
import type { HostPort } from "../internal/tcp.ts"
import { BindFailed, TransportError } from "../transport/TransportError.ts"

/** What readers may take. */
export interface StatusLimits {
  /** From the first moment of a connection, or of its next request, to the last byte of the request. */
  readonly requestMillis: number
  /** How long a connection may stand still. */
  readonly idleMillis: number
  readonly connections: number
}

/** With upstream's deadlines. */
const LIMITS: StatusLimits = { requestMillis: 10_000, idleMillis: 120_000, connections: 64 }

/** Answers with the status until the Scope ends, and cuts its connections then. Where it listens. */
export const serveStatus: (
  address: HostPort,
  status: Effect.Effect<unknown>,
  /** The name that it is asked by, besides addresses. */
  name?: string,
  limits?: StatusLimits
) => Effect.Effect<SocketAddress.SocketAddress, TransportError, Scope.Scope> = Effect.fnUntraced(function* (
  address,
  status,
  name = address.host,
  limits = LIMITS
) {
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  const body = status.pipe(
    Effect.map((status) => `${JSON.stringify(status)}\n`),
    Effect.timeout(ANSWER_WITHIN)
  )
  const answer = (res: ServerResponse) =>
    body.pipe(
      Effect.map((json) => respond(res, 200, "application/json", json)),
      Effect.catchCause((cause) =>
        Effect.andThen(
          Effect.logError("status.failed", cause),
          Effect.sync(() => respond(res, 500, "text/plain", "The status cannot be told; the log says why.\n"))
        )
      )
    )
  const server = yield* listen(address, limits, (req, res) => {
    req.on("error", () => {}).resume()
    res.on("error", () => {})
    if (!isAddressed(req.headers.host, name)) respond(res, 421, "text/plain", MISDIRECTED)
    else if (req.method === "GET" || req.method === "HEAD") run(answer(res))
    else respond(res.setHeader("Allow", "GET, HEAD"), 405, "text/plain", "Only GET and HEAD are answered.\n")
  })
  const { address: host, port } = server.address() as AddressInfo
  yield* Effect.logInfo("status.listening").pipe(Effect.annotateLogs({ address: SocketAddress.format({ host, port }) }))
  return { host, port }
})

/**
 * Whether a request names an address, or the name that is configured. A page of somebody else, read by a browser on this
 * machine, can have its own name lead here (DNS rebinding), but cannot ask by another one.
 */
const isAddressed = (header: string | undefined, configured: string): boolean => {
  if (header === undefined) return true
  const host = header
    .replace(/:\d*$/, "")
    .replace(/^\[(.*)\]$/, "$1")
    .toLowerCase()
  return isIP(host) !== 0 || host === "localhost" || host === configured.toLowerCase()
}

const MISDIRECTED = "Ask by an IP address, by localhost, or by the name in status-addr.\n"

const respond = (res: ServerResponse, status: number, type: string, text: string): void => {
  res.writeHead(status, {
    "Content-Type": `${type}; charset=utf-8`,
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff"
  })
  res.end(text)
}

const listen = (
  { host, port }: HostPort,
  { requestMillis, idleMillis, connections }: StatusLimits,
  visit: (req: IncomingMessage, res: ServerResponse) => void
) =>
  Effect.acquireRelease(
    Effect.callback<Server, TransportError>((resume) => {
      const server = createServer(
        {
          headersTimeout: requestMillis,
          requestTimeout: requestMillis,
          keepAliveTimeout: idleMillis,
          connectionsCheckingInterval: Math.min(1_000, requestMillis / 4)
        },
        visit
      )
      server.maxConnections = connections
      server.timeout = idleMillis
      server.on("error", ({ code, message }: NodeJS.ErrnoException) => {
        const reason = new BindFailed({
          address: SocketAddress.format({ host: host || "*", port }),
          code: code ?? message
        })
        resume(Effect.fail(new TransportError({ reason })))
      })
      server.listen({ port, ...(host !== "" && { host }) }, () => resume(Effect.succeed(server)))
      return Effect.sync(() => server.close())
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  )

const ANSWER_WITHIN = "5 seconds"
