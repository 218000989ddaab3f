/**
 * Where users of HTTP come in: HTTP/1.1, and HTTP/2 for users with TLS that can. Everything that came in ends with the Scope.
 */
import type { IncomingMessage } from "node:http"
import {
  createServer as createHttp2,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session
} from "node:http2"
import type { Duplex } from "node:stream"
import type { TLSSocket } from "node:tls"
import { Effect, FiberSet } from "effect"
import { abort } from "../../internal/abort.ts"
import { type Listen, listenUsers } from "../source/listenUsers.ts"
import type { UserFacts } from "../source/User.ts"
import type { Visit } from "./exchange.ts"
import { makeHttpServer } from "./HttpServer.ts"
import type { HttpLimits } from "./limits.ts"

export interface UserListenerOptions {
  readonly name: string
  readonly listen: Listen
  /** Whether HTTP/2 is spoken to users with TLS: it has no upgrades. */
  readonly http2: boolean
  readonly limits: HttpLimits
  readonly visit: (visit: Visit, facts: UserFacts) => void
}

/** Listens until the Scope ends. Where it listens, as text. */
export const listenForUsers = Effect.fnUntraced(function* (options: UserListenerOptions) {
  const { name, listen, limits } = options
  const run = yield* FiberSet.makeRuntime<never, void, never>()
  /** Of a connection, or of a session of HTTP/2 on one. */
  const facts = new WeakMap<object, UserFacts>()
  const connections = new Set<Duplex>()

  const http = yield* makeHttpServer({
    limits,
    upgrades: true,
    visit: (visit) => options.visit(visit, facts.get(carrierOf(visit.req)) ?? UNKNOWN)
  })

  let arriving = UNKNOWN
  const http2 = createHttp2({
    settings: { maxConcurrentStreams: STREAMS_A_USER, maxHeaderListSize: limits.headBytes },
    maxHeaderListPairs: limits.headFields + PSEUDO_FIELDS,
    maxSessionMemory: SESSION_MEGABYTES
  })
  http2.on("session", (session) => {
    facts.set(session, arriving)
    let streams = 0
    session
      .on("error", () => {})
      .on("stream", (stream) => {
        streams++
        stream.once("close", () => streams--)
      })
    // One that answers slowly is none that is not used.
    session.setTimeout(limits.idleMillis, () => streams === 0 && session.close())
  })
  const onHttp2 = (req: Http2ServerRequest, res: Http2ServerResponse) =>
    // It has all of the other's interface that is used here.
    http.serve({ req, res } as unknown as Visit)
  http2.on("request", onHttp2).on("checkContinue", onHttp2)

  const protocols = options.http2 ? ["h2", "http/1.1"] : ["http/1.1"]
  const address = yield* listenUsers(name, listen._tag === "tls" ? { ...listen, protocols } : listen, {
    come: ({ stream, facts: known }) => {
      if (connections.size >= limits.connections) return abort(stream)
      connections.add(stream)
      stream.once("close", () => connections.delete(stream))
      facts.set(stream, known)
      if ((stream as Partial<TLSSocket>).alpnProtocol === "h2") {
        // The session begins within the event.
        arriving = known
        http2.emit("connection", stream)
      } else http.accept(stream)
      stream.resume()
    },
    failed: ({ message }) => {
      run(Effect.logInfo("user.refused", message).pipe(Effect.annotateLogs({ endpoint: name })))
    }
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const connection of connections) abort(connection)
    })
  )
  yield* Effect.logInfo("source.listening").pipe(Effect.annotateLogs({ endpoint: name, address }))
  return address
})

const carrierOf = (req: IncomingMessage): object =>
  (req as { readonly stream?: { readonly session?: ServerHttp2Session } }).stream?.session ?? req.socket

const UNKNOWN: UserFacts = { source: { _tag: "unknown" }, destination: { _tag: "unknown" }, tls: undefined }

const STREAMS_A_USER = 128
const SESSION_MEGABYTES = 8
/** `:method`, `:path`, `:scheme`, `:authority`. */
const PSEUDO_FIELDS = 4
