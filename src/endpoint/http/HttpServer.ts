/**
 * An HTTP/1.1 server for connections that others accept: sockets, TLS, streams of a tunnel.
 *
 * - Node's parser is strict, and what it lets through and two programs could read in two ways is refused: nothing of such a
 *   request reaches a handler.
 * - A user who has finished sending still gets his answer.
 * - Connections, requests, heads and waiting are bounded.
 */
import { createServer, type IncomingMessage, ServerResponse } from "node:http"
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import { abort } from "../../internal/abort.ts"
import { problems, respond } from "./errorPage.ts"
import type { Visit } from "./exchange.ts"
import type { HttpLimits } from "./limits.ts"
import { refusalOf, upgradeOf } from "./requestHead.ts"

export interface HttpServerOptions {
  readonly limits: HttpLimits
  /** Whether users may go on with another protocol. */
  readonly upgrades: boolean
  /** Is called with every request that is in order. */
  readonly visit: (visit: Visit) => void
}

export interface HttpServer {
  /** Serves a connection until it ends. */
  readonly accept: (connection: Duplex) => void
  /** Serves a request that came in otherwise (HTTP/2), by the same rules. */
  readonly serve: (visit: Visit) => void
}

/** Connections are cut with the Scope. */
export const makeHttpServer = Effect.fnUntraced(function* (options: HttpServerOptions) {
  const { limits } = options
  const connections = new Map<Duplex, Busy>()
  let active = 0

  const serve = (visit: Visit): void => {
    const { req, res } = visit
    req.on("error", () => {})
    res.on("error", () => {})
    const refusal = refusalOf(req, limits.headFields)
    if (refusal !== undefined) {
      respond(req, res, problems.refused(refusal.status, refusal.why))
      return
    }
    if (active >= limits.requests) {
      respond(req, res, problems.busy)
      return
    }
    active++
    const ended = visit.upgrade === undefined ? res : req.socket
    ended.once("close", () => active--)
    options.visit(visit)
  }

  const server = createServer(
    {
      insecureHTTPParser: false,
      maxHeaderSize: limits.headBytes,
      headersTimeout: limits.headMillis,
      // It would cut slow bodies that are alive. Those that stand still are cut by the exchange.
      requestTimeout: 0,
      keepAliveTimeout: 0,
      connectionsCheckingInterval: Math.min(1_000, limits.headMillis / 4),
      shouldUpgradeCallback: (req: IncomingMessage) => options.upgrades && upgradeOf(req) !== undefined
    },
    (req, res) => {
      connections.get(req.socket)?.begin(req, res)
      serve({ req, res })
    }
  )
  // Node would drop fields above a number in silence; they are counted, and refused, by us.
  server.maxHeadersCount = 0
  // Not documented, but as old as the server: the answer still goes to a user who has ended his half.
  Object.assign(server, { httpAllowHalfOpen: true })
  // The service decides on it; its answer comes before, instead of or after 100.
  server.on("checkContinue", (req, res) => server.emit("request", req, res))
  server.on("connect", (_req: IncomingMessage, connection: Duplex) => {
    const answer = "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    connection.end(answer, () => connection.destroy())
  })
  server.on("upgrade", (req: IncomingMessage, connection: Duplex, head: Buffer) => {
    const protocol = options.upgrades ? upgradeOf(req) : undefined
    // The first releases of Node 24 do not ask whether to.
    if (protocol === undefined) {
      connection.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", () =>
        connection.destroy()
      )
      return
    }
    // At once: after the end of the connection nothing can be put back.
    if (head.length > 0) connection.unshift(head)
    const res = new ServerResponse(req)
    res.shouldKeepAlive = false
    res.assignSocket(connection as never)
    connections.get(connection)?.begin(req, res)
    res.on("finish", () => connection.end(() => connection.destroy()))
    // Node has taken its own listener away.
    const onDrain = () => res.emit("drain")
    connection.on("drain", onDrain)
    const take = () => {
      res.detachSocket(connection as never)
      connection.off("drain", onDrain)
      return connection
    }
    serve({ req, res, upgrade: { protocol, take } })
  })
  // What looks for heads that take too long begins with this event; there is nothing of its own to listen on.
  server.emit("listening")

  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      server.close(() => {})
      for (const connection of connections.keys()) abort(connection)
    })
  )

  return {
    accept: (connection) => {
      connection.on("error", () => {})
      if (connections.size >= limits.connections) return abort(connection)
      const busy = makeBusy(connection, limits.idleMillis)
      connections.set(connection, busy)
      connection.once("close", () => {
        busy.stop()
        connections.delete(connection)
      })
      server.emit("connection", connection)
    },
    serve
  } satisfies HttpServer
})

interface Busy {
  readonly begin: (req: IncomingMessage, res: ServerResponse) => void
  readonly stop: () => void
}

/** Cuts a connection that has had no request for too long. Node does it for sockets only. */
const makeBusy = (connection: Duplex, idleMillis: number): Busy => {
  let requests = 0
  let timer: NodeJS.Timeout | undefined
  const rest = (millis: number) => {
    clearTimeout(timer)
    timer = setTimeout(() => abort(connection), millis)
  }
  return {
    begin: (req, res) => {
      requests++
      clearTimeout(timer)
      res.once("close", () => {
        requests--
        if (requests > 0 || connection.destroyed) return
        // What is left of a body that nobody wants is read for a moment, so that its sender gets to read the answer.
        rest(req.complete ? idleMillis : Math.min(idleMillis, LINGER_MILLIS))
      })
    },
    stop: () => clearTimeout(timer)
  }
}

const LINGER_MILLIS = 30_000
