/**
 * The relays that are there, and the control server's side of their registration link: a hello, and then nothing more. A
 * relay is offered to clients for as long as its connection lives.
 *
 * Every registration is an entry of its own, and removed as that entry: a late clean-up never takes a relay away that has
 * come back meanwhile. Of several registrations of one relay the latest is offered.
 */
import { randomBytes, X509Certificate } from "node:crypto"
import { Duration, Effect, type Scope, SubscriptionRef } from "effect"
import * as base32hex from "../../domain/base32hex.ts"
import * as SocketAddress from "../../domain/SocketAddress.ts"
import { Alpn, frameWidth } from "../../protocol/Alpn.ts"
import { ErrorCode } from "../../protocol/ErrorCode.ts"
import { MAX_STRANGER_MESSAGE_BYTES } from "../../protocol/Frame.ts"
import { receiveWithin, send } from "../../protocol/MessageStream.ts"
import * as Messages from "../../protocol/RelayControl.ts"
import { makeBoxKey } from "../../protocol/seal.ts"
import { crowdedOut, makeReception, turnAway } from "../../transport/Reception.ts"
import { type Connection, type Listener, serve } from "../../transport/Transport.ts"
import type { TransportError } from "../../transport/TransportError.ts"
import { dnsNames } from "../../transport/Trust.ts"
import { unresponsive } from "../unresponsive.ts"
import { type Access, type Guest, type Refusal, tokenOf } from "./Access.ts"
import type { ControlIdentity } from "./ControlIdentity.ts"
import { openReconnectToken, sealReconnectToken } from "./ReconnectToken.ts"

/** A relay that is there, with the key that we share with it. */
export interface RegisteredRelay {
  readonly id: string
  readonly addresses: Messages.AuthenticateRequest["addresses"]
  readonly serverCertificate: Uint8Array
  readonly metadata: string
  readonly sharedKey: Uint8Array
  readonly carriers: Messages.AuthenticateRequest["carriers"]
}

export interface RelayRoster {
  /** Each relay once, in the order they came. */
  readonly relays: SubscriptionRef.SubscriptionRef<ReadonlyArray<RegisteredRelay>>
  /** Takes the relays in that come through a listener, for ever; fails only when the listener does. */
  readonly serve: (listener: Listener) => Effect.Effect<never, TransportError, Scope.Scope>
}

export interface RelayRosterOptions {
  readonly identity: ControlIdentity
  /** Which relays may come. */
  readonly access: Access
}

const HELLO_DEADLINE = Duration.seconds(5)

export const makeRelayRoster = Effect.fnUntraced(function* ({ identity, access }: RelayRosterOptions) {
  const reception = makeReception()
  const relays = yield* SubscriptionRef.make<ReadonlyArray<RegisteredRelay>>([])
  let registered: ReadonlyArray<RegisteredRelay> = []
  const publish = (next: ReadonlyArray<RegisteredRelay>) => {
    registered = next
    // Whoever comes last tells what is there then: two at once may get here in either order.
    return SubscriptionRef.update(relays, () => [...new Map(registered.map((relay) => [relay.id, relay])).values()])
  }

  const refuse = (connection: Connection, code: ErrorCode, message: string, answer: Effect.Effect<unknown, unknown>) =>
    Effect.as(turnAway(connection, { event: "relay.refused", code, message }, answer), undefined)

  const expel = (connection: Connection, guest: Guest, refusal: Refusal) =>
    Effect.annotateLogs(turnAway(connection, { event: "relay.expelled", ...refusal }), tokenOf(guest))

  const hello = Effect.fnUntraced(function* (connection: Connection) {
    if (!(yield* reception.admit(connection)))
      return yield* Effect.as(crowdedOut(connection, "relay.refused"), undefined)
    const messages = { width: frameWidth("registration", connection.protocol), limit: MAX_STRANGER_MESSAGE_BYTES }
    const stream = yield* connection.accept.pipe(Effect.timeout(HELLO_DEADLINE))
    const answer = (response: Messages.AuthenticateResponse) =>
      send(stream, Messages.authenticateResponse, response, messages).pipe(
        Effect.andThen(Effect.sync(() => stream.end().resume()))
      )
    const refused = (message: string, code: ErrorCode = ErrorCode.AuthenticationFailed) =>
      refuse(connection, code, message, answer({ _tag: "Refused", code, message }))
    const received = yield* Effect.result(receiveWithin(stream, Messages.authenticateRequest, messages, HELLO_DEADLINE))
    if (received._tag === "Failure") return yield* refused(received.failure.message)
    const request = received.success
    const guest = access.guest(request.token, () => connection.remoteAddress().host)
    const refusal = yield* guest.refusal()
    if (refusal !== undefined) return yield* Effect.annotateLogs(refused(refusal.message), tokenOf(guest))
    if (dnsNames(new X509Certificate(request.serverCertificate)).length === 0) {
      const message = "the certificate of the relay has no DNS name, so clients could not ask for it"
      return yield* refused(message, ErrorCode.RelayInvalidCertificate)
    }
    const key = makeBoxKey()
    const sharedKey = key.sharedWith(request.authenticationKey)
    if (sharedKey === undefined) return yield* refused("the authentication key is not one")
    const id = openReconnectToken(identity.relayKey, request.reconnectToken) ?? base32hex.encode(randomBytes(32))
    const reconnectToken = sealReconnectToken(identity.relayKey, id)
    yield* answer({ _tag: "Accepted", controlId: identity.id, reconnectToken, authenticationKey: key.publicKey })
    const { addresses, serverCertificate, metadata, buildVersion, carriers } = request
    yield* Effect.logInfo("relay.online").pipe(
      Effect.annotateLogs({
        relay: id,
        address: SocketAddress.format(connection.remoteAddress()),
        advertised: addresses.map(SocketAddress.format).join(", "),
        version: buildVersion,
        ...tokenOf(guest),
        ...(metadata !== "" && { metadata })
      })
    )
    const relay: RegisteredRelay = { id, addresses, serverCertificate, metadata, sharedKey, carriers }
    return { relay, guest }
  }, Effect.scoped)

  const handle = Effect.fnUntraced(
    function* (connection: Connection) {
      const entered = yield* hello(connection)
      if (entered === undefined) return
      const { relay, guest } = entered
      yield* Effect.acquireRelease(publish([...registered, relay]), () =>
        Effect.suspend(() => publish(registered.filter((other) => other !== relay)))
      )
      const reason = yield* Effect.raceAllFirst([
        Effect.map(connection.closed, ({ message }) => message),
        unresponsive(connection),
        Effect.flatMap(guest.expelled, (refusal) => Effect.as(expel(connection, guest, refusal), refusal.message))
      ])
      yield* Effect.logInfo("relay.lost").pipe(Effect.annotateLogs({ relay: relay.id, reason }))
    },
    Effect.scoped,
    Effect.catch((error) => Effect.logDebug("hello failed", error))
  )

  return { relays, serve: (listener) => serve(listener, handle) } satisfies RelayRoster
})

/** ALPNs that the listener for `serve` has to offer. */
export const PROTOCOLS = Alpn.registration
