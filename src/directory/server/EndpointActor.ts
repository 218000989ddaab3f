/**
 * One endpoint name at a control server: a mailbox, the pure `Registry`, and for each role the list that is to be told.
 * It lives as long as anybody holds it (`RcMap`): open announce streams, and registrations that wait to expire.
 */
import { Effect, Queue, SubscriptionRef } from "effect"
import type { Role } from "../../domain/Role.ts"
import type { RemotePeer } from "../../protocol/ClientControl.ts"
import * as Registry from "./Registry.ts"

export interface EndpointActor {
  readonly tell: (message: Registry.Message) => Effect.Effect<void>
  /** The peers of a role: now, and after every change. */
  readonly peersFor: (role: Role) => SubscriptionRef.SubscriptionRef<ReadonlyArray<RemotePeer>>
  readonly registry: () => Registry.Registry
}

/** Messages that wait; whoever sends more waits too. */
const MAILBOX = 1_024

export const makeEndpointActor = Effect.gen(function* () {
  const mailbox = yield* Effect.acquireRelease(Queue.bounded<Registry.Message>(MAILBOX), Queue.shutdown)
  const peers = {
    destination: yield* SubscriptionRef.make<ReadonlyArray<RemotePeer>>([]),
    source: yield* SubscriptionRef.make<ReadonlyArray<RemotePeer>>([])
  }
  let registry = Registry.empty
  const publish = Effect.fnUntraced(function* (role: Role) {
    const list = Registry.peersFor(registry, role)
    if (!sameList(list, SubscriptionRef.getUnsafe(peers[role]))) yield* SubscriptionRef.set(peers[role], list)
  })
  yield* Effect.gen(function* () {
    const message = yield* Queue.take(mailbox)
    registry = Registry.step(registry, message)
    yield* publish("destination")
    yield* publish("source")
  }).pipe(
    Effect.forever,
    Effect.tapCause((cause) => Effect.logDebug("endpoint actor ended", cause)),
    Effect.forkScoped
  )
  return {
    tell: (message) => Effect.asVoid(Queue.offer(mailbox, message)),
    peersFor: (role) => peers[role],
    registry: () => registry
  } satisfies EndpointActor
})

/** Peers are values that are replaced, never changed, so that comparing their parts by identity is enough. */
const sameList = (a: ReadonlyArray<RemotePeer>, b: ReadonlyArray<RemotePeer>): boolean =>
  a.length === b.length &&
  a.every((peer, at) => peer.id === b[at]!.id && peer.peer === b[at]!.peer && peer.metadata === b[at]!.metadata)
