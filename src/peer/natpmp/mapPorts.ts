/**
 * What performs `PortMapping` on the client's own socket: one fiber that decides, one that reads what is not QUIC, one that
 * looks for the way out, and one that hears what the router announces.
 */
import { Clock, Effect, FiberHandle, Option, Queue, Random, SubscriptionRef } from "effect"
import { format, type SocketAddress } from "../../domain/SocketAddress.ts"
import type { Datagram, Endpoint } from "../../transport/Transport.ts"
import { localInterfaces } from "../localCandidates.ts"
import { hearAnnouncements } from "./announcements.ts"
import { type Answer, decode, encode, type Protocol, type Question } from "./NatPmp.ts"
import { type Action, dueAt, type Event, farewell, initial, type Options, step, type Uplink } from "./PortMapping.ts"
import type { FindUplink } from "./Uplink.ts"

/** Where the router takes what it forwards to us. */
export type Mapped = Readonly<Partial<Record<Protocol, SocketAddress>>>

export interface MapPortsOptions {
  readonly endpoint: Pick<Endpoint, "address" | "carriers" | "datagrams">
  readonly findUplink: FindUplink
  /** The addresses of this host; when they change, the way out is looked for at once. */
  readonly interfaces?: typeof localInterfaces
}

/** Events that wait; further ones push out the oldest, and the question is asked again. */
const MAILBOX = 64
/** How often the addresses of this host are compared with what they were, and how often the way out is looked for anyway. */
const COMPARE_EVERY_MILLIS = 10_000
const LOOK_EVERY_MILLIS = 60_000
/** How long leaving may wait for the router. */
const FAREWELL_MILLIS = 100

/** Keeps our port mapped until the Scope ends, then ends the mappings. */
export const mapPorts = Effect.fnUntraced(function* ({
  endpoint,
  findUplink,
  interfaces = localInterfaces
}: MapPortsOptions) {
  const options: Options = {
    port: endpoint.address.port,
    protocols: (["udp", "tcp"] as const).filter((protocol) => endpoint.carriers.includes(CARRIERS[protocol])),
    jitter: yield* Random.next
  }
  const mapped = yield* SubscriptionRef.make<Mapped>({})
  const mailbox = yield* Queue.sliding<Event>(MAILBOX)
  const hearing = yield* FiberHandle.make()
  let state = initial

  const take = Effect.gen(function* () {
    const millis = dueAt(state) - (yield* nowMillis)
    if (millis <= 0) return DUE
    if (millis === Number.POSITIVE_INFINITY) return yield* Queue.take(mailbox)
    return yield* Effect.map(
      Effect.timeoutOption(Queue.take(mailbox), millis),
      Option.getOrElse(() => DUE)
    )
  })
  const decide = Effect.gen(function* () {
    const event = yield* take
    const [next, actions] = step(options, state, event, yield* nowMillis)
    const before = state
    state = next
    if (next.uplink !== before.uplink) yield* FiberHandle.run(hearing, hear)
    yield* Effect.forEach(actions, perform, { discard: true })
    if (next.held !== before.held) yield* SubscriptionRef.set(mapped, externals(next.held))
  })

  const perform = (action: Action): Effect.Effect<void> => {
    switch (action._tag) {
      case "Send":
        return endpoint.datagrams.send(action.to, encode(action.request))
      case "Opened": {
        const { protocol, external, lifetimeSeconds } = action
        const labels = { protocol, external: format(external), lifetimeSeconds }
        return Effect.annotateLogs(Effect.logInfo("portmap.open"), labels)
      }
      case "Lost":
        return Effect.annotateLogs(Effect.logInfo("portmap.lost"), { protocol: action.protocol, reason: action.reason })
      case "Failed":
        return Effect.annotateLogs(Effect.logDebug("portmap.failed"), { of: action.question, reason: action.reason })
    }
  }

  const answerIn = ({ from, bytes }: Datagram) => (from.host === state.uplink?.gateway.host ? decode(bytes) : undefined)
  const hear = Effect.suspend(() =>
    state.uplink === undefined
      ? Effect.void
      : hearAnnouncements(state.uplink.address, (datagram) => {
          const answer = answerIn(datagram)
          if (answer?._tag === "Address") Queue.offerUnsafe(mailbox, { _tag: "Answered", answer })
        })
  )

  /** The next answer of the router. Whatever else comes is dropped. */
  const answer: Effect.Effect<Answer> = endpoint.datagrams.receive.pipe(
    Effect.map(answerIn),
    Effect.repeat({ until: (answer): answer is Answer => answer !== undefined })
  )
  const read = Effect.flatMap(answer, (answer) => Queue.offer(mailbox, { _tag: "Answered", answer }))

  let known = ""
  let lookAt = 0
  const look = Effect.gen(function* () {
    const now = JSON.stringify(interfaces())
    if (now === known && (yield* nowMillis) < lookAt) return
    known = now
    lookAt = (yield* nowMillis) + LOOK_EVERY_MILLIS
    const found = yield* findUplink
    const uplink = found !== undefined && leavesBy(endpoint.address, found) ? found : undefined
    yield* Queue.offer(mailbox, { _tag: "Looked", uplink })
  }).pipe(
    Effect.catchDefect((defect) => Effect.logDebug("cannot list the addresses of this host", defect)),
    Effect.andThen(Effect.sleep(COMPARE_EVERY_MILLIS))
  )

  /** Asks for the end of all mappings, and waits a moment for the router to say so. */
  const leave = Effect.suspend(() => {
    const requests = farewell(options, state)
    const gateway = state.uplink?.gateway
    if (gateway === undefined || requests.length === 0) return Effect.void
    const open = new Set<Question>(requests.map(({ protocol }) => protocol))
    const ended = Effect.map(answer, (answer) => {
      if (answer._tag === "Refused") open.delete(answer.question)
      if (answer._tag === "Mapped" && answer.lifetimeSeconds === 0) open.delete(answer.protocol)
    }).pipe(Effect.repeat({ until: () => open.size === 0 }))
    return Effect.forEach(requests, (request) => endpoint.datagrams.send(gateway, encode(request))).pipe(
      Effect.andThen(Effect.timeoutOption(ended, FAREWELL_MILLIS))
    )
  })

  yield* Effect.addFinalizer(() => leave)
  yield* Effect.all([Effect.forever(decide), Effect.forever(read), Effect.forever(look)], {
    concurrency: "unbounded",
    discard: true
  }).pipe(
    Effect.catch(({ message }) => Effect.annotateLogs(Effect.logInfo("portmap.off"), { reason: message })),
    Effect.tapDefect((defect) => Effect.logError("port mapping failed", defect)),
    Effect.ensuring(Effect.andThen(FiberHandle.clear(hearing), SubscriptionRef.set(mapped, {}))),
    Effect.forkScoped
  )
  return mapped
})

const CARRIERS = { udp: "quic", tcp: "tcp" } as const

const DUE: Event = { _tag: "Due" }

/** Of a clock that nobody sets. */
const nowMillis = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

/** Whether a socket that is bound there sends from the address of the uplink. */
const leavesBy = (bound: SocketAddress, { address }: Uplink) =>
  bound.host === "::" || bound.host === "0.0.0.0" || bound.host === address

const externals = (held: typeof initial.held): Mapped => ({
  ...(held.udp && { udp: held.udp.external }),
  ...(held.tcp && { tcp: held.tcp.external })
})
