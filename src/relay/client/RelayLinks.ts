/**
 * The links of one endpoint to the relays that control offers: each is dialed, says hello, and is asked for signs of life.
 * When it is silent, or its relay was started again, another one is dialed at once, while it is given its chance. A link
 * that lives is not cut because control forgets the relay.
 *
 * When the other carrier does better, a link over it is dialed in the background. Of two links to a relay the newer one
 * is used, and the older one is closed as soon as it carries nothing.
 */
import { Clock, Deferred, Duration, Effect, FiberMap, FiberSet, Option, Stream, SubscriptionRef } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import { dialByName } from "../../directory/client/sessions.ts"
import { betterCarrier, type Carrier } from "../../domain/Carrier.ts"
import type { ProxyFor } from "../../domain/Proxy.ts"
import type { Role } from "../../domain/Role.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { backoff, rest } from "../../internal/backoff.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import type { RelayOffer } from "../../protocol/ClientControl.ts"
import * as Hello from "../../protocol/ClientRelay.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { type MessageOptions, receiveWithin, send } from "../../protocol/MessageStream.ts"
import { makeLastCarrier } from "../../transport/lastCarrier.ts"
import { signOfLife } from "../../transport/signOfLife.ts"
import type { Connection, Endpoint } from "../../transport/Transport.ts"
import { Trust } from "../../transport/Trust.ts"

/** A link that may carry streams. */
export interface RelayLink {
  /** Unique within the process, and growing. */
  readonly id: number
  /** The relay, as it was offered when the link was opened. */
  readonly offer: RelayOffer
  readonly connection: Connection
  readonly messages: MessageOptions
  /** `Suspect`: it has not answered lately. */
  readonly state: "Open" | "Suspect"
  readonly roundTripMillis: number
  /** The shortest round trip to the relay that was seen while there was a link to it. */
  readonly distanceMillis: number
}

export interface RelayLinks {
  readonly links: SubscriptionRef.SubscriptionRef<ReadonlyArray<RelayLink>>
  /** To be run by whoever used the link and heard nothing. */
  readonly doubted: (link: number) => Effect.Effect<void>
}

export interface RelayLinksOptions {
  readonly endpoint: Endpoint
  /** Our own side: who opens the streams. */
  readonly role: Role
  /** What may be dialed with. */
  readonly carriers: ReadonlyArray<Carrier>
  /** What is shown to the relays: the certificate that control vouched for. */
  readonly identity: Identity
  readonly offers: SubscriptionRef.SubscriptionRef<ReadonlyArray<RelayOffer>>
  /** Free text that the relays see. */
  readonly metadata: string
  readonly buildVersion: string
  readonly proxy?: ProxyFor | undefined
  readonly handshakeTimeout: Duration.Duration
  /** Takes care of the streams that the relay opens on a link, until it ends. */
  readonly onLink: (link: RelayLink) => Effect.Effect<void>
}

const HELLO_DEADLINE = Duration.seconds(5)
const PROBE_EVERY = Duration.seconds(2)
const MIN_PROBE_MILLIS = 1_000
/** A link that does not answer this often in a row is given up. */
const MISSES_UNTIL_LOST = 3
/** A link that lived this long starts the waiting times anew when it ends. */
const HEALTHY_MILLIS = 30_000

let nextId = 0

/** Keeps the links for as long as the Scope lives. */
export const makeRelayLinks = Effect.fnUntraced(function* (options: RelayLinksOptions) {
  const { offers } = options
  const links = yield* SubscriptionRef.make<ReadonlyArray<RelayLink>>([])
  const change = (id: number, how: (link: RelayLink) => RelayLink) =>
    SubscriptionRef.update(links, (all) => all.map((link) => (link.id === id ? how(link) : link)))

  const lastCarrier = makeLastCarrier()

  const usable = ({ carriers }: RelayOffer) => options.carriers.filter((carrier) => carriers.includes(carrier))

  const dial = ({ addresses, serverCertificate }: RelayOffer, carriers: ReadonlyArray<Carrier>) => {
    const { endpoint, identity, role, proxy: proxyFor, handshakeTimeout: timeout } = options
    const opener = role === "source" ? ("dialer" as const) : ("listener" as const)
    const trust = Trust.pinned(serverCertificate)
    return dialByName(endpoint, addresses, {
      carriers,
      proxyFor,
      protocols: Alpn.relay,
      identity,
      opener,
      trust,
      timeout
    })
  }

  const hello = Effect.fnUntraced(function* (connection: Connection, { authentication }: RelayOffer) {
    const messages = { width: frameWidth("relay", connection.protocol), limit: MAX_STRANGER_MESSAGE_BYTES }
    const { metadata, buildVersion } = options
    const stream = yield* connection.open
    yield* send(stream, Hello.authenticateRequest, { authentication, metadata, buildVersion }, messages)
    const answer = yield* receiveWithin(stream, Hello.authenticateResponse, messages, HELLO_DEADLINE)
    stream.end().resume()
    if (answer._tag === "Refused") return yield* Effect.fail(`${answer.message} (code ${answer.code})`)
    return messages
  })

  /** Asks for signs of life, and ends the link when there are none. */
  const watch = Effect.fnUntraced(function* ({ id, offer, connection, roundTripMillis }: RelayLink) {
    let last = roundTripMillis
    let missed = 0
    const outdone = () => isOutdone(id, offer, SubscriptionRef.getUnsafe(links))
    while (missed < MISSES_UNTIL_LOST) {
      // By the next answer, what the relay has sent before it knew of the other link is here.
      const before = outdone()
      yield* Effect.sleep(PROBE_EVERY)
      const answer = yield* signOfLife(connection, Math.max(MIN_PROBE_MILLIS, 4 * last))
      if (Option.isSome(answer)) {
        missed = 0
        const sample = answer.value ?? last
        last += (sample - last) / 8
        const roundTripMillis = last
        yield* change(id, (link) => ({
          ...link,
          state: "Open",
          roundTripMillis,
          distanceMillis: Math.min(link.distanceMillis, sample)
        }))
        if (before && outdone() && connection.traffic().streams === 0) {
          yield* connection.close(ErrorCode.RelayKeepaliveClosed, "another link does as well")
        }
      } else {
        missed++
        yield* change(id, (link) => ({ ...link, state: "Suspect" }))
      }
    }
    yield* connection.close(ErrorCode.RelayKeepaliveClosed, "no sign of life")
  })

  /** Ends when control offers the relay with other addresses or keys, or not at all. */
  const offeredAnew = (offer: RelayOffer) =>
    SubscriptionRef.changes(offers).pipe(
      Stream.filter((all) => {
        const now = all.find(({ id }) => id === offer.id)
        return now === undefined || !sameOffer(now, offer)
      }),
      Stream.runHead
    )

  const alive = yield* FiberSet.make<void, never>()

  /** Opens a link over one of these carriers, which then runs until its end. Fails with why it did not begin. */
  const openLink = Effect.fnUntraced(function* (offer: RelayOffer, carriers: ReadonlyArray<Carrier>) {
    const began = yield* Deferred.make<void, string>()
    const entering = Effect.gen(function* () {
      if (carriers.length === 0) return yield* Effect.fail(`it takes ${offer.carriers.join(" and ")} only`)
      const connection = yield* dial(offer, carriers)
      const messages = yield* hello(connection, offer).pipe(
        Effect.mapError((error) => (typeof error === "string" ? error : error.message))
      )
      return { connection, messages }
    })
    // An offer that is over may lead to nobody: then its deadlines are not worth waiting for.
    const over = Effect.andThen(offeredAnew(offer), Effect.fail("control does not offer it like this any more"))
    const link = Effect.gen(function* () {
      const { connection, messages } = yield* Effect.raceFirst(entering, over)
      const roundTripMillis = connection.traffic().roundTripMillis ?? 0
      const { carrier } = connection
      lastCarrier.worked(carrier)
      const link: RelayLink = {
        id: nextId++,
        offer,
        connection,
        messages,
        state: "Open",
        roundTripMillis,
        distanceMillis: Math.min(roundTripMillis, ...distancesTo(offer, SubscriptionRef.getUnsafe(links)))
      }
      const labels = { link: link.id, carrier, address: SocketAddress.format(connection.remoteAddress()) }
      yield* Effect.acquireRelease(
        SubscriptionRef.update(links, (all) => [...all, link]),
        () => SubscriptionRef.update(links, (all) => all.filter(({ id }) => id !== link.id))
      )
      yield* Effect.annotateLogs(Effect.logInfo("relay.online"), { ...labels, rttMillis: Math.round(roundTripMillis) })
      yield* Deferred.succeed(began, undefined)
      const ended = yield* Effect.raceAllFirst([
        connection.closed,
        Effect.andThen(options.onLink(link), connection.closed),
        Effect.andThen(watch(link), connection.closed)
      ])
      yield* Effect.annotateLogs(Effect.logInfo("relay.lost"), { ...labels, reason: ended.message })
    }).pipe(
      Effect.scoped,
      Effect.catch((error) => Effect.asVoid(Deferred.fail(began, error))),
      Effect.tapCause((cause) => Effect.logDebug("relay link ended", cause)),
      Effect.ensuring(Deferred.fail(began, "it was given up"))
    )
    yield* FiberSet.run(alive, link)
    yield* Deferred.await(began)
  })

  /** A link that answers, to the relay as it is offered: with another certificate it has been started again. */
  const isGood = (offer: RelayOffer) => (link: RelayLink) =>
    link.state === "Open" && link.offer.id === offer.id && sameRelay(link.offer, offer)

  /** Ends when no link does any more, or when control offers the relay in another way, or not at all. */
  const untilLost = (offer: RelayOffer) =>
    Effect.raceFirst(
      SubscriptionRef.changes(links).pipe(
        Stream.filter((all) => !all.some(isGood(offer))),
        Stream.runHead
      ),
      offeredAnew(offer)
    )

  /** The carrier that would do better than that of the link we have, if there is one. */
  const better = (offer: RelayOffer, all: ReadonlyArray<RelayLink>): Carrier | undefined => {
    const link = all.findLast(isGood(offer))
    if (link === undefined) return undefined
    const carrier = betterCarrier(link.distanceMillis, link.connection.carrier)
    return carrier !== link.connection.carrier && usable(offer).includes(carrier) ? carrier : undefined
  }

  /** Ends when a link over a better carrier was opened. */
  const improved = Effect.fnUntraced(function* (offer: RelayOffer) {
    for (let attempt = 1; ; attempt++) {
      const carrier = yield* SubscriptionRef.changes(links).pipe(
        Stream.map((all) => better(offer, all)),
        Stream.filter((carrier) => carrier !== undefined),
        Stream.runHead,
        Effect.map(Option.getOrThrow)
      )
      yield* rest(attempt)
      const opened = yield* Effect.result(openLink(offer, [carrier]))
      if (opened._tag === "Success") return
      yield* Effect.annotateLogs(Effect.logDebug("relay.unreachable"), { reason: opened.failure })
    }
  })

  const running = new Set<string>()
  const runRelay = Effect.fnUntraced(function* (id: string) {
    let wait = backoff()
    let lastLogged: string | undefined
    while (true) {
      const offer = SubscriptionRef.getUnsafe(offers).find((offer) => offer.id === id)
      if (offer === undefined) break
      if (SubscriptionRef.getUnsafe(links).some(isGood(offer))) {
        const since = yield* Clock.currentTimeMillis
        yield* Effect.raceFirst(untilLost(offer), improved(offer))
        if ((yield* Clock.currentTimeMillis) - since > HEALTHY_MILLIS) wait = backoff()
        continue
      }
      const failed = yield* Effect.flip(openLink(offer, lastCarrier.first(usable(offer)))).pipe(
        Effect.orElseSucceed(() => undefined)
      )
      if (failed !== undefined) {
        yield* (failed === lastLogged ? Effect.logDebug : Effect.logInfo)("relay.unreachable").pipe(
          Effect.annotateLogs({ reason: failed })
        )
      }
      lastLogged = failed
      const anew = yield* Effect.raceFirst(Effect.as(wait, false), Effect.as(offeredAnew(offer), true))
      if (anew) wait = backoff()
    }
    running.delete(id)
  })

  const fibers = yield* FiberMap.make<string>()
  const start = ({ id }: RelayOffer) => {
    if (running.has(id)) return Effect.void
    running.add(id)
    const relay = runRelay(id).pipe(
      Effect.tapCause((cause) => Effect.logDebug("relay link ended", cause)),
      Effect.annotateLogs({ relay: id })
    )
    return FiberMap.run(fibers, id, relay)
  }
  yield* SubscriptionRef.changes(offers).pipe(
    Stream.runForEach((all) => Effect.forEach(all, start, { discard: true })),
    Effect.tapCause((cause) => Effect.logDebug("list of relays ended", cause)),
    Effect.forkScoped
  )
  const doubted = (id: number) => change(id, (link) => ({ ...link, state: "Suspect" }))
  return { links, doubted } satisfies RelayLinks
})

/** A newer link to the same relay answers. */
const isOutdone = (id: number, offer: RelayOffer, links: ReadonlyArray<RelayLink>): boolean =>
  links.some((other) => other.id > id && other.state === "Open" && other.offer.id === offer.id)

/** A new link is as near as those before it, even if it was opened in a busy moment. */
const distancesTo = (offer: RelayOffer, links: ReadonlyArray<RelayLink>) =>
  links.flatMap((link) => (link.offer.id === offer.id ? [link.distanceMillis] : []))

const sameRelay = (a: RelayOffer, b: RelayOffer): boolean =>
  Buffer.from(a.serverCertificate).equals(b.serverCertificate)

const sameOffer = (a: RelayOffer, b: RelayOffer): boolean =>
  sameRelay(a, b) &&
  Buffer.from(a.authentication).equals(b.authentication) &&
  JSON.stringify([a.addresses, a.carriers]) === JSON.stringify([b.addresses, b.carriers])
