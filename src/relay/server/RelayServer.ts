/**
 * The relay as a role: it registers at a control server, lets in whom control vouches for, and joins the streams of
 * sources with streams that it opens to destinations. What the two say to each other it passes on as bytes.
 *
 * A link belongs to one endpoint of one client. Nothing of a link, whatever it says, touches another one.
 */
import type { Duplex } from "node:stream"
import { Duration, Effect, FiberSet, Option, type Redacted } from "effect"
import { certificateKey } from "../../certs/certificateKey.ts"
import { issueServer } from "../../certs/issue.ts"
import { realmName } from "../../certs/realmName.ts"
import type { Carrier } from "../../domain/Carrier.ts"
import type { Role } from "../../domain/Role.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { join } from "../../internal/join.ts"
import { openFor } from "../../internal/openFor.ts"
import { after, raceLater, whenClosed } from "../../internal/raceLater.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import * as Hello from "../../protocol/ClientRelay.ts"
import { connectRequest, connectResponse } from "../../protocol/Connect.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import {
  decode,
  type MessageOptions,
  receiveFrame,
  receiveFrameWithin,
  receiveWithin,
  send,
  writeFrame
} from "../../protocol/MessageStream.ts"
import type { ClientAuthentication } from "../../protocol/RelayControl.ts"
import { crowdedOut, makeReception, turnAway } from "../../transport/Reception.ts"
import { signOfLife } from "../../transport/signOfLife.ts"
import {
  type BindOptions,
  type Connection,
  type Endpoint,
  serve,
  Transport,
  type TransportStream
} from "../../transport/Transport.ts"
import { Trust } from "../../transport/Trust.ts"
import { makeRegistration, type RegistrationOptions, type RegistrationStatus } from "./Registration.ts"
import * as Switchboard from "./Switchboard.ts"
import { makeRate, type Rate, throttle } from "./throttle.ts"

export interface RelayIngress {
  readonly address: SocketAddress.SocketAddress
  /** Where clients are told to find it; port 0 stands for the one that is bound. */
  readonly advertised: ReadonlyArray<SocketAddress.SocketAddress>
  /** From which IP addresses one may come in here; without it, from all. */
  readonly admits?: BindOptions["admits"]
}

/** What one client may take up. Undefined: no limit. */
export interface RelayLimits {
  /** Streams of one link at a time. */
  readonly streamsPerLink?: number | undefined
  /** Links from one IP address. */
  readonly linksPerAddress?: number | undefined
  /** For all streams of one link together, in each direction. */
  readonly bytesPerSecondPerLink?: number | undefined
}

export interface RelayServerOptions
  extends Omit<
    RegistrationOptions,
    "connect" | "controlCarriers" | "addresses" | "carriers" | "serverCertificate" | "token"
  > {
  readonly token: Redacted.Redacted<string>
  readonly ingresses: ReadonlyArray<RelayIngress>
  readonly limits: RelayLimits
  /** If they are others than those of the relay's sockets. */
  readonly controlCarriers?: ReadonlyArray<Carrier>
  /** Reaches the control server, from the sockets of the relay. */
  readonly connect: (endpoints: ReadonlyArray<Endpoint>) => RegistrationOptions["connect"]
}

const HELLO_DEADLINE = Duration.seconds(5)
const REQUEST_DEADLINE = Duration.seconds(5)
const OPEN_MILLIS = 1_000
/** For all destinations that are asked for one stream; sources give up earlier. */
const SEARCH_DEADLINE = Duration.seconds(30)
/** A destination that has not answered after this time and two round trips is asked for a sign of life. */
const GRACE_MILLIS = 100
const MIN_PROBE_MILLIS = 1_000

/** Anybody may connect with a certificate of his own making: until his hello he may send us this much, and no more. */
const MAX_STRANGER_BYTES = 256 * 1024
const LOOK_AT_STRANGERS_EVERY = Duration.millis(100)

interface Link extends Switchboard.DestinationLink {
  readonly client: ClientAuthentication
  /** Free text of the client. */
  readonly metadata: string
  readonly connection: Connection
  readonly messages: MessageOptions
  /** Streams that it takes part in. */
  streams: number
  /** A stream that it was asked for was not answered. */
  silent: boolean
  /** For what comes from it and goes to it; undefined without a limit. */
  readonly rates: { readonly in: Rate; readonly out: Rate } | undefined
}

/** What a relay knows at the moment. */
export interface RelaySnapshot {
  readonly registration: RegistrationStatus
  /** The control server, for people. */
  readonly control: string
  /** Where clients are told to find the relay. */
  readonly advertised: ReadonlyArray<SocketAddress.SocketAddress>
  readonly links: ReadonlyArray<LinkSnapshot>
}

/** The link of one endpoint of a client. */
export interface LinkSnapshot extends Pick<Link, "endpoint" | "certificateKey" | "metadata" | "streams"> {
  readonly role: Role
  readonly address: SocketAddress.SocketAddress
  readonly carrier: Carrier
}

interface NotTaken {
  readonly _tag: "NotTaken"
  readonly message: string
}

const notTaken = (message: string): NotTaken => ({ _tag: "NotTaken", message })

/**
 * Starts a relay in the current Scope: the addresses it listens on, an Effect that ends when it cannot go on, and what it
 * knows whenever that is asked.
 */
export const startRelay = Effect.fnUntraced(function* (options: RelayServerOptions) {
  const { limits } = options
  const transport = yield* Transport
  const identity = yield* issueServer([realmName("reserve.relay")])
  const reception = makeReception()
  const linksOf = new Map<string, number>()
  /** Waiting for a sign of life of each link that is silent. */
  const silences = yield* FiberSet.make<void, never>()
  const links = new Set<Link>()
  let board: Switchboard.Switchboard<Link> = new Map()
  let nextKey = 0

  const endpoints = yield* Effect.forEach(options.ingresses, ({ address, admits }) =>
    transport.bind({ address, admits })
  )
  const addresses = options.ingresses.flatMap(({ advertised }, at) =>
    advertised.map(({ host, port }) => ({ host, port: port === 0 ? endpoints[at]!.address.port : port }))
  )
  const carriers = endpoints[0]?.carriers ?? []
  const registration = makeRegistration({
    ...options,
    controlCarriers: options.controlCarriers ?? carriers,
    connect: options.connect(endpoints),
    addresses,
    carriers,
    serverCertificate: identity.leaf.raw
  })

  // ── hello ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Counts a link of an address while the Scope lives. False when that has as many as it may have. */
  const admitLink = Effect.fnUntraced(function* ({ host }: SocketAddress.SocketAddress) {
    const { linksPerAddress } = limits
    if (linksPerAddress !== undefined && (linksOf.get(host) ?? 0) >= linksPerAddress) return false
    yield* Effect.acquireRelease(
      Effect.sync(() => linksOf.set(host, (linksOf.get(host) ?? 0) + 1)),
      () =>
        Effect.sync(() => {
          const count = linksOf.get(host)! - 1
          if (count === 0) linksOf.delete(host)
          else linksOf.set(host, count)
        })
    )
    return true
  })

  const refuse = (connection: Connection, message: string, answer?: Effect.Effect<unknown, unknown>) =>
    Effect.as(
      turnAway(connection, { event: "link.refused", code: ErrorCode.AuthenticationFailed, message }, answer),
      undefined
    )

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    if (!(yield* reception.admit(connection)))
      return yield* Effect.as(crowdedOut(connection, "link.refused"), undefined)
    const messages = { width: frameWidth("relay", connection.protocol), limit: MAX_STRANGER_MESSAGE_BYTES }
    const stream = yield* connection.accept.pipe(Effect.timeout(HELLO_DEADLINE))
    const answer = (response: Hello.AuthenticateResponse) =>
      send(stream, Hello.authenticateResponse, response, messages).pipe(
        Effect.andThen(Effect.sync(() => stream.end().resume()))
      )
    const refused = (message: string) =>
      refuse(connection, message, answer({ _tag: "Refused", code: ErrorCode.AuthenticationFailed, message }))
    const received = yield* Effect.result(receiveWithin(stream, Hello.authenticateRequest, messages, HELLO_DEADLINE))
    if (received._tag === "Failure") return yield* refused(received.failure.message)
    const client = registration.open(received.success.authentication)
    if (client === undefined) return yield* refused("the control server of this relay did not make the authentication")
    const shown = connection.peerCertificate && certificateKey(connection.peerCertificate)
    if (shown !== client.certificateKey) return yield* refused("the authentication is for another certificate")
    const { metadata } = received.success
    return { client, metadata, messages, accepted: answer({ _tag: "Accepted" }), refused }
  }, Effect.scoped)

  /** Ends when a stranger sends more than a hello needs. */
  const flooded = Effect.fnUntraced(function* (connection: Connection) {
    while (connection.traffic().bytesReceived < MAX_STRANGER_BYTES) yield* Effect.sleep(LOOK_AT_STRANGERS_EVERY)
    return yield* refuse(connection, "too much was sent before the hello")
  })

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks a silent link for signs of life until there is one, or it ends. */
  const untilItAnswers = Effect.fnUntraced(function* (link: Link) {
    while (link.silent && link.connection.ended() === undefined) {
      const answer = yield* signOfLife(link.connection, patienceMillis(link))
      if (Option.isSome(answer)) link.silent = false
    }
  })

  /** It is asked last from now on, until it answers again. */
  const fellSilent = Effect.fnUntraced(function* (link: Link) {
    if (link.silent) return
    link.silent = true
    yield* FiberSet.run(silences, untilItAnswers(link))
  })

  /** Fails when the link itself does not answer, whatever its service does. */
  const silence = Effect.fnUntraced(function* (link: Link) {
    if (Option.isSome(yield* signOfLife(link.connection, patienceMillis(link)))) return yield* Effect.never
    yield* fellSilent(link)
    return yield* Effect.fail(notTaken("it does not answer"))
  })

  const converse = Effect.fnUntraced(function* (link: Link, stream: TransportStream, request: Uint8Array) {
    writeFrame(stream, request, link.messages)
    const response = yield* receiveFrame(stream, link.messages)
    link.silent = false
    const answer = yield* decode(connectResponse, response)
    if (answer._tag === "Connected") return { stream, response }
    return yield* Effect.fail(
      notTaken(answer._tag === "Refused" ? `${answer.message} (code ${answer.code})` : "not a connect answer")
    )
  })

  /** Asks one destination: a stream in the caller's Scope with the bytes of its answer, or nothing left of the try. */
  const ask = (link: Link, request: Uint8Array) =>
    raceLater(
      Effect.mapError(
        openFor(openSoon(link), (stream) => converse(link, stream, request)),
        (error) => (error._tag === "NotTaken" ? error : notTaken(error.message))
      ),
      after(GRACE_MILLIS + 2 * (link.connection.traffic().roundTripMillis ?? 0), silence(link))
    )

  /** One stream of a source: finds a destination for it, and carries its bytes. */
  const serveStream = Effect.fnUntraced(function* (link: Link, stream: TransportStream) {
    const { messages, endpoint } = link
    const refuseStream = (code: ErrorCode, message: string) =>
      send(stream, connectResponse, { _tag: "Refused", code, message }, messages)
    const request = yield* receiveFrameWithin(stream, messages, REQUEST_DEADLINE)
    const wish = yield* Effect.result(decode(connectRequest, request))
    if (wish._tag === "Failure") return yield* refuseStream(ErrorCode.RequestUnknown, wish.failure.message)
    if (wish.success._tag !== "Connect") {
      return yield* refuseStream(ErrorCode.RequestUnknown, "a relay serves connect requests only")
    }
    if (limits.streamsPerLink !== undefined && link.streams > limits.streamsPerLink) {
      const message = `the relay carries at most ${limits.streamsPerLink} streams of one client at a time`
      return yield* refuseStream(ErrorCode.DestinationDialFailed, message)
    }
    const candidates = Switchboard.candidates(
      board.get(endpoint) ?? [],
      wish.success.destinationKey,
      ({ silent, connection }) => ({ silent, roundTripMillis: connection.traffic().roundTripMillis })
    )
    if (candidates.length === 0) {
      return yield* refuseStream(ErrorCode.DestinationNotFound, `no such destination of ${endpoint} is at the relay`)
    }
    const causes: Array<string> = []
    const tooLate = Effect.sync(() =>
      causes.push(`no destination has answered within ${Duration.toSeconds(SEARCH_DEADLINE)} seconds`)
    )
    const search = Effect.gen(function* () {
      for (const candidate of candidates) {
        const result = yield* Effect.result(ask(candidate, request))
        if (result._tag === "Success") return { ...result.success, candidate }
        causes.push(result.failure.message)
      }
      return undefined
    }).pipe(Effect.timeoutOrElse({ duration: SEARCH_DEADLINE, orElse: () => Effect.as(tooLate, undefined) }))
    const found = yield* raceLater(search, whenClosed(stream, sourceGone))
    if (found === undefined) return yield* refuseStream(ErrorCode.DestinationDialFailed, causes.join("; "))
    const { candidate } = found
    candidate.streams++
    writeFrame(stream, found.response, messages)
    yield* join(limited(link, stream), limited(candidate, found.stream)).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          candidate.streams--
        })
      )
    )
  }, Effect.scoped)

  // ── links ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  const serveSource = Effect.fnUntraced(function* (link: Link) {
    const streams = yield* FiberSet.make<void, never>()
    while (true) {
      const stream = yield* link.connection.accept
      link.streams++
      yield* FiberSet.run(
        streams,
        serveStream(link, stream).pipe(
          Effect.tapCause((cause) => Effect.logDebug("stream ended", cause)),
          Effect.ignoreCause,
          Effect.ensuring(
            Effect.sync(() => {
              link.streams--
              if (!stream.destroyed) stream.end().resume()
            })
          )
        )
      )
    }
  }, Effect.scoped)

  /** A destination opens no streams: what comes is refused. */
  const serveDestination = Effect.fnUntraced(function* (link: Link) {
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        board = Switchboard.joined(board, link)
      }),
      () =>
        Effect.sync(() => {
          board = Switchboard.left(board, link)
        })
    )
    return yield* link.connection.accept.pipe(
      Effect.tap((stream) => Effect.sync(() => stream.destroy())),
      Effect.forever
    )
  }, Effect.scoped)

  const handle = Effect.fnUntraced(
    function* (connection: Connection) {
      const guest = yield* Effect.raceFirst(hello(connection), flooded(connection))
      if (guest === undefined) return
      const { client, metadata, messages, accepted, refused } = guest
      if (!(yield* admitLink(connection.remoteAddress()))) {
        yield* refused(`the relay takes at most ${limits.linksPerAddress} links from one address`)
        return
      }
      yield* accepted
      const { endpoint, role } = client
      const link: Link = {
        key: nextKey++,
        endpoint,
        certificateKey: client.certificateKey,
        client,
        metadata,
        connection,
        messages,
        streams: 0,
        silent: false,
        rates: limits.bytesPerSecondPerLink === undefined ? undefined : makeRates(limits.bytesPerSecondPerLink)
      }
      yield* Effect.acquireRelease(
        Effect.sync(() => links.add(link)),
        () => Effect.sync(() => links.delete(link))
      )
      const labels = { endpoint, role, link: link.key, address: SocketAddress.format(connection.remoteAddress()) }
      yield* Effect.annotateLogs(Effect.logInfo("link.online"), labels)
      yield* Effect.ignore(role === "source" ? serveSource(link) : serveDestination(link))
      const ended = yield* connection.closed
      yield* Effect.annotateLogs(Effect.logInfo("link.lost"), { ...labels, reason: ended.message })
    },
    Effect.scoped,
    Effect.catch((error) => Effect.logDebug("hello failed", error))
  )

  const serving = yield* FiberSet.make()
  for (const endpoint of endpoints) {
    const listener = yield* endpoint.listen({ protocols: Alpn.relay, identity, trust: Trust.expected(() => true) })
    yield* FiberSet.run(serving, Effect.scoped(serve(listener, handle)))
    const address = SocketAddress.format(endpoint.address)
    yield* Effect.logInfo("relay.listening").pipe(
      Effect.annotateLogs({ address, advertised: addresses.map(SocketAddress.format).join(", ") })
    )
  }
  const snapshot = (): RelaySnapshot => ({
    registration: registration.status(),
    control: options.control,
    advertised: addresses,
    links: [...links].map(({ endpoint, certificateKey, client, metadata, streams, connection }) => ({
      endpoint,
      certificateKey,
      role: client.role,
      metadata,
      streams,
      address: connection.remoteAddress(),
      carrier: connection.carrier
    }))
  })
  return { addresses: endpoints.map(({ address }) => address), run: registration.run, snapshot }
})

const makeRates = (bytesPerSecond: number) => ({ in: makeRate(bytesPerSecond), out: makeRate(bytesPerSecond) })

/** How long its answer may take before a link is silent. */
const patienceMillis = ({ connection }: Link): number =>
  Math.max(MIN_PROBE_MILLIS, 4 * (connection.traffic().roundTripMillis ?? 0))

/** A destination that has no room for one more stream must not keep the others from being asked. */
const openSoon = ({ connection }: Link) =>
  raceLater(connection.open, after(OPEN_MILLIS, Effect.fail(notTaken("it allows no more streams at the moment"))))

/** A stream of a link, slowed down when the link has a limit. */
const limited = ({ rates }: Link, stream: TransportStream): Duplex =>
  rates === undefined ? stream : throttle(stream, rates.in, rates.out)

/** Then nobody waits for a destination any more. */
const sourceGone = Effect.fail(notTaken("the source is gone"))
