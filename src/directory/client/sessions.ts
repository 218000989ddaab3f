/**
 * A session with a control server: one at a time, kept for ever, whatever happens to the network or the server. Only what
 * cannot pass by itself is given up: a rejected token.
 */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Clock, Duration, Effect, Exit, Result, Schema, Scope } from "effect"
import type { Carrier } from "../../domain/Carrier.ts"
import type { Proxy, ProxyFor } from "../../domain/Proxy.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { backoff, rest } from "../../internal/backoff.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { ProtocolError } from "../../protocol/ProtocolError.ts"
import type { Refused } from "../../protocol/Refusal.ts"
import { makeLastCarrier } from "../../transport/lastCarrier.ts"
import { race, raceCarriers } from "../../transport/race.ts"
import type { Connection, DialTarget, Endpoint } from "../../transport/Transport.ts"
import { TransportError } from "../../transport/TransportError.ts"
import { DirectoryError, TokenRejected } from "../DirectoryError.ts"
import { unresponsive } from "../unresponsive.ts"

export interface SessionOptions<A, E> {
  /** What the other end is called in events: `<label>.online` is left to `online`. */
  readonly label: "server" | "control"
  /** `host:port`, for people. */
  readonly name: string
  /** What may carry the session. */
  readonly carriers: ReadonlyArray<Carrier>
  /** Reaches the other end over one of these carriers, the first of which has a head start. */
  readonly connect: (carriers: ReadonlyArray<Carrier>) => Effect.Effect<Connection, string, Scope.Scope>
  /** Says hello on a new connection. Fails with a text when that may pass, and with an error `E` when it will not. */
  readonly hello: (connection: Connection) => Effect.Effect<A, ProtocolError | TransportError | string | E>
  /** Run for as long as the session has this connection; it must be quick to be interrupted. */
  readonly online: (session: A, connection: Connection) => Effect.Effect<void, never, Scope.Scope>
  /** Told when there is no session, with the number of the next attempt and why the last one failed. */
  readonly offline: (attempt: number, lastFailure: string | undefined) => Effect.Effect<void>
}

/** A session that lasted this long starts the waiting times anew when it ends. */
export const HEALTHY = Duration.seconds(30)
/** Between the addresses of one name. */
const STAGGER = Duration.millis(250)
const RESOLVE_DEADLINE = Duration.seconds(5)

interface Live<A> {
  readonly session: A
  readonly connection: Connection
  readonly scope: Scope.Closeable
}

/**
 * Runs sessions, one after the other. A session that only TCP got through for is tried over QUIC in the background, and
 * goes on there. Fails with `DirectoryError` when the server will never take us.
 */
export const keepSession = <A, E extends { readonly _tag: string }>(options: SessionOptions<A, E>) =>
  Effect.scoped(runSessions(options))

const runSessions = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }>(
  options: SessionOptions<A, E>
) {
  const { label, name, carriers } = options
  const parent = yield* Effect.scope
  const lastCarrier = makeLastCarrier()

  /** A connection that has said hello. Fails with why there is none. */
  const establish = Effect.fnUntraced(function* (over: ReadonlyArray<Carrier>) {
    const scope = yield* Scope.fork(parent)
    return yield* Effect.gen(function* () {
      const connection = yield* options.connect(over)
      const session = yield* options.hello(connection).pipe(
        Effect.mapError((error): string | E | DirectoryError => {
          if (typeof error === "string") return error
          if (isProtocolError(error)) return refusedBy(name, error) ?? error.message
          return isTransportError(error) ? error.message : error
        })
      )
      lastCarrier.worked(connection.carrier)
      return { session, connection, scope } satisfies Live<A>
    }).pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.onExit((exit) => (exit._tag === "Failure" ? Scope.close(scope, exit) : Effect.void))
    )
  })

  /** Tells of the session on another connection, when there is a better one. */
  const moved = Effect.fnUntraced(function* ({ connection }: Live<A>, found: (live: Live<A>) => void) {
    if (connection.carrier !== "tcp" || !carriers.includes("quic")) return yield* Effect.never
    for (let attempt = 1; ; attempt++) {
      yield* rest(attempt)
      const live = yield* Effect.result(establish(["quic"]))
      if (live._tag === "Success") return found(live.success)
      yield* Effect.annotateLogs(Effect.logDebug(`${label}.quic`), { reason: String(live.failure) })
    }
  })

  /** Runs a session to its end, on one connection or several. Why it ended. */
  const follow = Effect.fnUntraced(function* (first: Live<A>) {
    let current = first
    while (true) {
      const { session, connection, scope } = current
      yield* Effect.provideService(options.online(session, connection), Scope.Scope, scope)
      let next: Live<A> | undefined
      const ended = yield* Effect.raceAllFirst([
        Effect.map(connection.closed, ({ message }) => message),
        unresponsive(connection),
        moved(current, (live) => {
          next = live
        })
      ])
      if (next === undefined) return yield* Effect.as(Scope.close(scope, Exit.void), ended ?? "")
      yield* Effect.logInfo(`${label}.moved`).pipe(Effect.annotateLogs({ [label]: name, carrier: "quic" }))
      current = next
      // No farewell: the other end must not forget what is told again in a moment.
      yield* connection.close(ErrorCode.DirectKeepaliveClosed, "the session goes on on another connection")
      yield* Scope.close(scope, Exit.void)
    }
  })

  let wait = backoff()
  let lastLogged: string | undefined
  yield* Effect.logInfo(`${label}.connecting`).pipe(Effect.annotateLogs({ [label]: name }))
  for (let attempt = 1; ; attempt++) {
    const startedAt = yield* Clock.currentTimeMillis
    const begun = yield* Effect.result(establish(lastCarrier.first(carriers)))
    let failed: string | undefined
    if (begun._tag === "Success") {
      const reason = yield* follow(begun.success)
      yield* Effect.logWarning(`${label}.lost`).pipe(Effect.annotateLogs({ [label]: name, reason }))
      if ((yield* Clock.currentTimeMillis) - startedAt > Duration.toMillis(HEALTHY)) wait = backoff()
      attempt = 0
    } else if (typeof begun.failure !== "string") {
      return yield* Effect.fail(begun.failure)
    } else {
      failed = begun.failure
      yield* (lastLogged === failed ? Effect.logDebug : Effect.logWarning)(`${label}.unreachable`).pipe(
        Effect.annotateLogs({ [label]: name, reason: failed, hint: "trying again until it answers" })
      )
    }
    lastLogged = failed
    yield* options.offline(attempt + 1, failed)
    yield* wait
  }
})

export interface Server {
  readonly host: string
  readonly port: number
}

interface Way {
  readonly address: SocketAddress.SocketAddress
  readonly proxy: Proxy | undefined
}

/** How to dial whoever has several addresses: over which carriers, the first of which has a head start. */
export interface Dialing extends Omit<DialTarget, "address" | "carrier" | "proxy"> {
  readonly carriers: ReadonlyArray<Carrier>
  /** For TCP, where it also resolves the names. */
  readonly proxyFor: ProxyFor | undefined
}

/**
 * Dials servers that are the same one by name, over each carrier: resolves them anew, and races all addresses. Fails with
 * what became of each.
 */
export const dialByName = (
  endpoint: Endpoint,
  servers: ReadonlyArray<Server>,
  { carriers, proxyFor, ...target }: Dialing
): Effect.Effect<Connection, string, Scope.Scope> => {
  const dial = (carrier: Carrier, { address, proxy }: Way) =>
    endpoint
      .dial({ ...target, carrier, address, proxy })
      .pipe(
        Effect.mapError(({ message }): Failure => ({ way: `${carrier} ${SocketAddress.format(address)}`, message }))
      )
  const waysTo = (carrier: Carrier) =>
    Effect.fnUntraced(function* (server: Server) {
      const proxy = carrier === "tcp" && proxyFor !== undefined ? yield* Effect.fromResult(proxyFor(server)) : undefined
      if (proxy !== undefined) return [{ address: server, proxy }]
      const hosts = yield* resolve(server.host)
      return hosts.map((host): Way => ({ address: { host, port: server.port }, proxy }))
    }, Effect.result)
  const reach = Effect.fnUntraced(function* (carrier: Carrier) {
    const found = yield* Effect.forEach(servers, waysTo(carrier), { concurrency: "unbounded" })
    const ways = new Map(
      found.flatMap(Result.getOrElse(() => [])).map((way) => [SocketAddress.format(way.address), way])
    )
    const unresolved = found.flatMap((result) =>
      Result.isFailure(result) ? [Effect.fail<Failure>({ way: undefined, message: result.failure })] : []
    )
    return yield* race([...[...ways.values()].map((way) => dial(carrier, way)), ...unresolved], STAGGER)
  })
  return Effect.mapError(raceCarriers(carriers.map(reach)), told)
}

/** What became of one way; undefined: there was none. */
interface Failure {
  readonly way: string | undefined
  readonly message: string
}

/** What became of all ways: each message once. */
const told = (failures: ReadonlyArray<Failure>): string =>
  [...Map.groupBy(failures, ({ message }) => message)]
    .map(([message, same]) => {
      const ways = new Set(same.flatMap(({ way }) => way ?? []))
      return ways.size === 0 ? message : `${[...ways].join(" and ")}: ${message}`
    })
    .join("; ")

/** What a refusal means: only one for what we are is final; any other code may be a passing trouble of the server. */
export const rejection = (
  server: string,
  { code, message }: Pick<typeof Refused.Type, "code" | "message">
): string | DirectoryError =>
  code === ErrorCode.AuthenticationFailed
    ? new DirectoryError({ reason: new TokenRejected({ server, explanation: message }) })
    : `refused with code ${code}: ${message}`

/** A refusal may also come as the code the connection was closed with. */
const refusedBy = (server: string, { reason }: ProtocolError) =>
  reason._tag === "StreamFailed" && reason.code !== undefined
    ? rejection(server, { code: reason.code, message: reason.message })
    : undefined

const isProtocolError = Schema.is(ProtocolError)
const isTransportError = Schema.is(TransportError)

/** The addresses of a host, as the system orders them. */
export const resolve = (host: string): Effect.Effect<ReadonlyArray<string>, string> =>
  isIP(host) !== 0
    ? Effect.succeed([host])
    : Effect.tryPromise({
        try: () => lookup(host, { all: true }),
        catch: (error) => `cannot resolve ${host}: ${(error as NodeJS.ErrnoException).code ?? error}`
      }).pipe(
        Effect.map((found) => found.map(({ address }) => address)),
        Effect.timeoutOrElse({
          duration: RESOLVE_DEADLINE,
          orElse: () => Effect.fail(`cannot resolve ${host}: no answer`)
        })
      )
