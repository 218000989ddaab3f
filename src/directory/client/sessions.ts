/**
 * A session with a control server: one at a time, kept for ever, whatever happens to the network or the server. Only what
 * cannot pass by itself is given up: a rejected token.
 */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Clock, Duration, Effect, Schema, type Scope } from "effect"
import { backoff } from "../../internal/backoff.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { ProtocolError } from "../../protocol/ProtocolError.ts"
import type { Refused } from "../../protocol/Refusal.ts"
import { race } from "../../transport/race.ts"
import type { Connection, DialTarget, Endpoint } from "../../transport/Transport.ts"
import { TransportError } from "../../transport/TransportError.ts"
import { DirectoryError, TokenRejected } from "../DirectoryError.ts"
import { unresponsive } from "../unresponsive.ts"

export interface SessionOptions<A, E> {
  /** What the other end is called in events: `<label>.online` is left to `online`. */
  readonly label: "server" | "control"
  /** `host:port`, for people. */
  readonly name: string
  readonly connect: Effect.Effect<Connection, string, Scope.Scope>
  /** Says hello on a new connection. Fails with a text when that may pass, and with an error `E` when it will not. */
  readonly hello: (connection: Connection) => Effect.Effect<A, ProtocolError | TransportError | string | E>
  /** Run for as long as the session lives; it must be quick to be interrupted. */
  readonly online: (session: A, connection: Connection) => Effect.Effect<void, never, Scope.Scope>
  /** Told when there is no session, with the number of the next attempt and why the last one failed. */
  readonly offline: (attempt: number, lastFailure: string | undefined) => Effect.Effect<void>
}

/** A session that lasted this long starts the waiting times anew when it ends. */
export const HEALTHY = Duration.seconds(30)
/** Between the addresses of one name. */
const STAGGER = Duration.millis(250)
const RESOLVE_DEADLINE = Duration.seconds(5)

/** Runs sessions, one after the other. Fails with `DirectoryError` when the server will never take us. */
export const keepSession = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }>(
  options: SessionOptions<A, E>
) {
  const { label, name } = options

  /** One session from dialing to its end. Fails with why it never began. */
  const runSession = Effect.gen(function* () {
    const connection = yield* options.connect
    const session = yield* options.hello(connection).pipe(
      Effect.mapError((error): string | E | DirectoryError => {
        if (typeof error === "string") return error
        if (isProtocolError(error)) return refusedBy(name, error) ?? error.message
        return isTransportError(error) ? error.message : error
      })
    )
    yield* options.online(session, connection)
    const ended = yield* Effect.raceFirst(
      Effect.map(connection.closed, ({ message }) => message),
      unresponsive(connection)
    )
    yield* Effect.logWarning(`${label}.lost`).pipe(Effect.annotateLogs({ [label]: name, reason: ended }))
  }).pipe(Effect.scoped)

  let wait = backoff()
  let lastLogged: string | undefined
  yield* Effect.logInfo(`${label}.connecting`).pipe(Effect.annotateLogs({ [label]: name }))
  for (let attempt = 1; ; attempt++) {
    const startedAt = yield* Clock.currentTimeMillis
    const failed = yield* runSession.pipe(
      Effect.as(undefined),
      Effect.catch((error) => Effect.succeed(error))
    )
    if (failed === undefined) {
      if ((yield* Clock.currentTimeMillis) - startedAt > Duration.toMillis(HEALTHY)) wait = backoff()
      attempt = 0
      lastLogged = undefined
    } else if (typeof failed !== "string") {
      return yield* Effect.fail(failed)
    } else {
      yield* (lastLogged === failed ? Effect.logDebug : Effect.logWarning)(`${label}.unreachable`).pipe(
        Effect.annotateLogs({ [label]: name, reason: failed, hint: "trying again until it answers" })
      )
      lastLogged = failed
    }
    yield* options.offline(attempt + 1, failed)
    yield* wait
  }
})

/** Dials a server by name: resolves it anew, and races its addresses. */
export const dialByName = Effect.fnUntraced(function* (
  endpoint: Endpoint,
  server: { readonly host: string; readonly port: number },
  target: Omit<DialTarget, "address">
) {
  const addresses = yield* resolve(server.host)
  const dials = addresses.map((host) => endpoint.dial({ ...target, address: { host, port: server.port } }))
  return yield* race(dials, STAGGER).pipe(Effect.mapError((errors) => errors.map(({ message }) => message).join("; ")))
})

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
