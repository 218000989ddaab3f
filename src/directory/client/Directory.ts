/**
 * A client's session with its control server: kept for ever, whatever happens to the network or the server.
 *
 * At most one session at a time. Each attempt resolves the server's name again and races its addresses. Announcements
 * belong to the client, not to a session: every new session gets all of them, and what was last known of the peers stays
 * known while there is no session. Only what cannot pass by itself is given up: a rejected token, a refused endpoint.
 */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import {
  Clock,
  Context,
  Deferred,
  Duration,
  Effect,
  Layer,
  Option,
  type Redacted,
  type Scope,
  Stream,
  SubscriptionRef
} from "effect"
import type { EndpointName } from "../../domain/EndpointName.ts"
import type { Role } from "../../domain/Role.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { backoff } from "../../internal/backoff.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import * as Messages from "../../protocol/ClientControl.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { MAX_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { type MessageOptions, receive, receiveWithin, send } from "../../protocol/MessageStream.ts"
import type { ProtocolError } from "../../protocol/ProtocolError.ts"
import { race } from "../../transport/race.ts"
import { type Connection, TransportEndpoint } from "../../transport/Transport.ts"
import type { Trust } from "../../transport/Trust.ts"
import { DirectoryError, EndpointRefused, TokenRejected } from "../DirectoryError.ts"

export interface DirectoryOptions {
  readonly server: { readonly host: string; readonly port: number }
  /** Who the server must be. */
  readonly trust: Trust
  readonly token: Redacted.Redacted<string>
  /** Free text that the server and peers see. */
  readonly metadata: string
  readonly handshakeTimeout: Duration.Duration
  /** Version of this program, for the server's log. */
  readonly buildVersion: string
}

export type DirectoryStatus =
  | { readonly _tag: "Connecting"; readonly attempt: number; readonly lastFailure: string | undefined }
  | {
      readonly _tag: "Online"
      /** This client as the server sees it. */
      readonly publicAddress: SocketAddress.SocketAddress
      readonly serverAddress: SocketAddress.SocketAddress
    }

export interface Announcement {
  /** The other side of the endpoint; undefined until the server has answered for the first time. */
  readonly peers: SubscriptionRef.SubscriptionRef<ReadonlyArray<Messages.RemotePeer> | undefined>
  /** Fails when the server refuses the endpoint; never ends otherwise. */
  readonly refused: Effect.Effect<never, DirectoryError>
}

export class Directory extends Context.Service<
  Directory,
  {
    readonly status: SubscriptionRef.SubscriptionRef<DirectoryStatus>
    /** Announces an endpoint in every session for as long as the Scope lives, and tells the server of every new `peer`. */
    readonly announce: (announcement: {
      readonly endpoint: EndpointName
      readonly role: Role
      readonly peer: SubscriptionRef.SubscriptionRef<Messages.Peer>
    }) => Effect.Effect<Announcement, never, Scope.Scope>
    /** Fails when the server will never take this client; never ends otherwise. */
    readonly failure: Effect.Effect<never, DirectoryError>
  }
>()("connet/directory/Directory") {
  static readonly layer = (options: DirectoryOptions) => Layer.effect(Directory, make(options))
}

interface Session {
  readonly connection: Connection
  readonly messages: MessageOptions
}

/** Between the addresses of one name. */
const STAGGER = Duration.millis(250)
const RESOLVE_DEADLINE = Duration.seconds(5)
const HELLO_DEADLINE = Duration.seconds(5)
const ANSWER_DEADLINE = Duration.seconds(10)
/** A session that does not answer this often in a row, once in this time each, is given up. */
const PROBE_EVERY = Duration.seconds(2)
const PROBE_DEADLINE = Duration.millis(1500)
const PROBES_MISSED = 2

const make = Effect.fnUntraced(function* (options: DirectoryOptions) {
  const endpoint = yield* TransportEndpoint
  const status = yield* SubscriptionRef.make<DirectoryStatus>({
    _tag: "Connecting",
    attempt: 1,
    lastFailure: undefined
  })
  const session = yield* SubscriptionRef.make<Session | undefined>(undefined)
  const failure = yield* Deferred.make<never, DirectoryError>()
  const serverName = `${options.server.host}:${options.server.port}`
  let reconnectToken: Uint8Array = new Uint8Array()

  const connect = Effect.gen(function* () {
    const addresses = yield* resolve(options.server.host)
    const dials = addresses.map((host) =>
      endpoint.dial({
        address: { host, port: options.server.port },
        protocols: Alpn.control,
        trust: options.trust,
        timeout: options.handshakeTimeout
      })
    )
    return yield* race(dials, STAGGER).pipe(
      Effect.mapError((errors) => errors.map(({ message }) => message).join("; "))
    )
  })

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    const messages = { width: frameWidth("control", connection.protocol), limit: MAX_MESSAGE_BYTES }
    const { token, metadata, buildVersion } = options
    const stream = yield* connection.open
    yield* send(stream, Messages.authenticateRequest, { token, reconnectToken, buildVersion, metadata }, messages)
    const answer = yield* receiveWithin(stream, Messages.authenticateResponse, messages, HELLO_DEADLINE)
    stream.end().resume()
    return { answer, messages }
  })

  /** One session from dialing to its end. Succeeds with why it ended; fails with why it never began. */
  const runSession = Effect.gen(function* () {
    const connection = yield* connect
    const { answer, messages } = yield* hello(connection).pipe(
      Effect.catchTags({
        ProtocolError: (error) => Effect.fail(refusedBy(error) ?? error.message),
        TransportError: (error) => Effect.fail(error.message)
      })
    )
    if (answer._tag === "Refused") return yield* Effect.fail(rejection(answer))
    reconnectToken = answer.reconnectToken
    const { publicAddress } = answer
    const serverAddress = connection.remoteAddress()
    yield* Effect.logInfo("server.online").pipe(
      Effect.annotateLogs({
        server: serverName,
        address: SocketAddress.format(serverAddress),
        public: SocketAddress.format(publicAddress)
      })
    )
    yield* SubscriptionRef.set(session, { connection, messages })
    yield* SubscriptionRef.set(status, { _tag: "Online", publicAddress, serverAddress })
    const ended = yield* Effect.raceFirst(
      Effect.map(connection.closed, ({ message }) => message),
      unresponsive(connection)
    ).pipe(Effect.ensuring(SubscriptionRef.set(session, undefined)))
    yield* Effect.logWarning("server.lost").pipe(Effect.annotateLogs({ server: serverName, reason: ended }))
  }).pipe(Effect.scoped)

  const sessions = Effect.gen(function* () {
    let wait = backoff()
    let lastLogged: string | undefined
    yield* Effect.logInfo("server.connecting").pipe(Effect.annotateLogs({ server: serverName }))
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
        const { message } = failed
        return yield* new DirectoryError({ reason: new TokenRejected({ server: serverName, explanation: message }) })
      } else {
        yield* (lastLogged === failed ? Effect.logDebug : Effect.logWarning)("server.unreachable").pipe(
          Effect.annotateLogs({ server: serverName, reason: failed, hint: "trying again until it answers" })
        )
        lastLogged = failed
      }
      yield* SubscriptionRef.set(status, { _tag: "Connecting", attempt: attempt + 1, lastFailure: failed })
      yield* wait
    }
  })

  yield* sessions.pipe(
    Effect.tapCause((cause) => Effect.logDebug("session loop ended", cause)),
    Effect.catchCause((cause) => Deferred.failCause(failure, cause)),
    Effect.forkScoped
  )

  const announce = Effect.fnUntraced(function* (announcement: {
    readonly endpoint: EndpointName
    readonly role: Role
    readonly peer: SubscriptionRef.SubscriptionRef<Messages.Peer>
  }) {
    const { endpoint, role, peer } = announcement
    const peers = yield* SubscriptionRef.make<ReadonlyArray<Messages.RemotePeer> | undefined>(undefined)
    const refused = yield* Deferred.make<never, DirectoryError>()

    const inSession = Effect.fnUntraced(function* ({ connection, messages }: Session) {
      const stream = yield* Effect.acquireRelease(connection.open, (stream) => Effect.sync(() => stream.destroy()), {
        interruptible: true
      })
      const tell = SubscriptionRef.changes(peer).pipe(
        Stream.buffer({ capacity: 1, strategy: "sliding" }),
        Stream.runForEach((peer) =>
          send(stream, Messages.request, { _tag: "Announce", endpoint, role, peer }, messages)
        )
      )
      const listen = Effect.gen(function* () {
        let answer = yield* receiveWithin(stream, Messages.response, messages, ANSWER_DEADLINE)
        while (true) {
          if (answer._tag === "Refused") {
            const { code, message: explanation } = answer
            return yield* new DirectoryError({ reason: new EndpointRefused({ endpoint, role, code, explanation }) })
          }
          if (answer._tag === "Announced") yield* SubscriptionRef.set(peers, answer.peers)
          answer = yield* receive(stream, Messages.response, messages)
        }
      })
      return yield* Effect.raceFirst(tell, listen)
    }, Effect.scoped)

    yield* Effect.gen(function* () {
      let wait = backoff()
      while (true) {
        const current = yield* SubscriptionRef.changes(session).pipe(
          Stream.filter((session) => session !== undefined),
          Stream.runHead
        )
        if (Option.isNone(current)) return
        const startedAt = yield* Clock.currentTimeMillis
        const failed = yield* Effect.flip(Effect.andThen(inSession(current.value), Effect.fail("ended" as const)))
        if (failed !== "ended" && failed._tag === "DirectoryError") return yield* failed
        yield* Effect.logDebug("announcement interrupted", failed).pipe(Effect.annotateLogs({ endpoint, role }))
        if ((yield* Clock.currentTimeMillis) - startedAt > Duration.toMillis(HEALTHY)) wait = backoff()
        yield* wait
      }
    }).pipe(
      Effect.catchCause((cause) => Deferred.failCause(refused, cause)),
      Effect.forkScoped
    )
    return { peers, refused: Deferred.await(refused) }
  })

  return Directory.of({ status, announce, failure: Deferred.await(failure) })
})

/** A session that lasted this long starts the waiting times anew when it ends. */
const HEALTHY = Duration.seconds(30)

interface Rejection {
  readonly _tag: "Rejection"
  readonly message: string
}

/** Only a refusal for what we are is final; any other code may be a passing trouble of the server. */
const rejection = ({ code, message }: { readonly code: number; readonly message: string }): Rejection | string =>
  code === ErrorCode.AuthenticationFailed ? { _tag: "Rejection", message } : `refused with code ${code}: ${message}`

/** A refusal may also come as the code the connection was closed with. */
const refusedBy = ({ reason }: ProtocolError): Rejection | string | undefined =>
  reason._tag === "StreamFailed" && reason.code !== undefined
    ? rejection({ code: reason.code, message: reason.message })
    : undefined

/** The addresses of a host, as the system orders them. */
const resolve = (host: string): Effect.Effect<ReadonlyArray<string>, string> =>
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

/** Ends when the other side has stopped answering. */
const unresponsive = Effect.fnUntraced(function* (connection: Connection) {
  let missed = 0
  while (missed < PROBES_MISSED) {
    yield* Effect.sleep(PROBE_EVERY)
    const answered = yield* connection.probe.pipe(
      Effect.timeoutOption(PROBE_DEADLINE),
      Effect.orElseSucceed(() => Option.none<number>())
    )
    missed = Option.isSome(answered) ? 0 : missed + 1
  }
  return "it does not answer any more"
})
