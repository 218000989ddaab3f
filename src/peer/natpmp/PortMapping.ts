/**
 * What a client and its router agree on: the external address, and a port for each protocol. Pure.
 *
 * A *round* asks for the address, then for each protocol. It begins when a router is found, and again at half of the
 * lifetime that is left. What holds:
 *
 * - One question at a time is open. It is sent nine times at most, with twice the pause each time.
 * - An answer that is not to the open question changes nothing, unless it shows that the router was started again or has
 *   another address.
 * - A mapping is held until its lifetime ends, it is refused, the router was started again, or the way out changed.
 * - The first protocol must be granted before the next one is asked for; what becomes of the next one does not touch it.
 */
import type { SocketAddress } from "../../domain/SocketAddress.ts"
import { type Answer, type MapRequest, type Protocol, type Question, type Request, refusal } from "./NatPmp.ts"

/** The way out of this host: its address, and the router behind it. */
export interface Uplink {
  readonly address: string
  readonly gateway: SocketAddress
}

export interface Options {
  /** Our port, of all protocols. */
  readonly port: number
  /** What to map, the one that matters first. */
  readonly protocols: ReadonlyArray<Protocol>
  /** From 0 to 1, drawn once: not all clients shall ask a restarted router at the same moment. */
  readonly jitter: number
}

export interface Mapping {
  readonly external: SocketAddress
  readonly expiresAt: number
}

/** Times are milliseconds of a clock that only goes forward. */
export interface State {
  readonly uplink: Uplink | undefined
  readonly phase: Phase
  /** Rounds in a row that came to nothing. */
  readonly failures: number
  /** What the router said last about its age, and when. */
  readonly epoch: { readonly seconds: number; readonly at: number } | undefined
  /** The router's address outside. */
  readonly host: string | undefined
  readonly held: Readonly<Partial<Record<Protocol, Mapping>>>
  /** The ports that we had, to be asked for again. */
  readonly wished: Readonly<Partial<Record<Protocol, number>>>
}

type Phase =
  | { readonly _tag: "Resting"; readonly until: number }
  | { readonly _tag: "Asking"; readonly question: Question; readonly tries: number; readonly until: number }

export type Event =
  /** The way out, when it was looked at; undefined: there is none that a router would map. */
  | { readonly _tag: "Looked"; readonly uplink: Uplink | undefined }
  /** An answer that came from the router. */
  | { readonly _tag: "Answered"; readonly answer: Answer }
  /** It is time, as `dueAt` has said. */
  | { readonly _tag: "Due" }

export type Action =
  | { readonly _tag: "Send"; readonly to: SocketAddress; readonly request: Request }
  | {
      readonly _tag: "Opened"
      readonly protocol: Protocol
      readonly external: SocketAddress
      readonly lifetimeSeconds: number
    }
  | { readonly _tag: "Lost"; readonly protocol: Protocol; readonly reason: string }
  /** A question came to nothing. */
  | { readonly _tag: "Failed"; readonly question: Question; readonly reason: string }

/** How long we ask for: what goes unrenewed is gone ten minutes later. */
const LIFETIME_SECONDS = 600
/** RFC 6886 §3.1: 250 ms, doubled each time, nine times; that makes 128 s. */
const FIRST_PAUSE_MILLIS = 250
const TRIES = 9
/** Between rounds that come to nothing, doubled each time. */
const REST_MILLIS = 1_000
const MAX_REST_MILLIS = 60_000
/** No renewal follows another one faster, whatever lifetime was granted. */
const MIN_RENEWAL_MILLIS = 1_000
/** RFC 6886 §3.7: how long a client waits at most before it asks a restarted router. */
const RESTART_MILLIS = 5_000

export const initial: State = {
  uplink: undefined,
  phase: { _tag: "Resting", until: Number.POSITIVE_INFINITY },
  failures: 0,
  epoch: undefined,
  host: undefined,
  held: {},
  wished: {}
}

/** When something is to be done even if nothing happens. */
export const dueAt = ({ phase, held }: State): number =>
  Math.min(phase.until, ...Object.values(held).map(({ expiresAt }) => expiresAt))

export type Step = readonly [State, ReadonlyArray<Action>]

export const step = (options: Options, state: State, event: Event, now: number): Step => {
  switch (event._tag) {
    case "Looked":
      return looked(options, state, event.uplink, now)
    case "Answered":
      return answered(options, state, event.answer, now)
    case "Due":
      return due(options, state, now)
  }
}

/** What ends the mappings, when we leave: requests for the router, of what it may have granted without our knowledge, too. */
export const farewell = ({ port }: Options, { held, phase }: State): ReadonlyArray<MapRequest> => {
  const asked = phase._tag === "Asking" && phase.question !== "address" ? [phase.question] : []
  return [...new Set([...protocolsOf(held), ...asked])].map((protocol) => ({
    _tag: "Map",
    protocol,
    internalPort: port,
    externalPort: 0,
    lifetimeSeconds: 0
  }))
}

const protocolsOf = (held: State["held"]) => Object.keys(held) as ReadonlyArray<Protocol>

const looked = (options: Options, state: State, uplink: Uplink | undefined, now: number): Step => {
  if (JSON.stringify(uplink) === JSON.stringify(state.uplink)) return [state, []]
  const lost = lose(state, protocolsOf(state.held), "the way out of this host changed")[1]
  if (uplink === undefined) return [initial, lost]
  const [next, actions] = begin(options, { ...initial, uplink }, now)
  return [next, [...lost, ...actions]]
}

const due = (options: Options, before: State, now: number): Step => {
  const expired = protocolsOf(before.held).filter((protocol) => before.held[protocol]!.expiresAt <= now)
  const [state, lost] = lose(before, expired, "the router did not renew it in time")
  const { phase } = state
  if (phase.until > now) return [state, lost]
  const [next, actions] =
    phase._tag === "Resting"
      ? begin(options, state, now)
      : phase.tries < TRIES
        ? ask(options, state, phase.question, phase.tries + 1, now)
        : failed(options, state, phase.question, "the router does not answer", now)
  return [next, [...lost, ...actions]]
}

const answered = (options: Options, before: State, answer: Answer, now: number): Step => {
  const { phase, uplink } = before
  if (uplink === undefined) return [before, []]
  if (answer._tag === "Refused") {
    return isAsked(phase, answer.question)
      ? refused(options, before, answer.question, refusal(answer.code), now)
      : [before, []]
  }
  const restarted = before.epoch !== undefined && answer.epochSeconds < leastEpoch(before.epoch, now)
  const state = { ...before, epoch: { seconds: answer.epochSeconds, at: now } }
  if (restarted) {
    const [next, lost] = lose(state, protocolsOf(state.held), "the router was started again")
    return [{ ...next, phase: { _tag: "Resting", until: now + options.jitter * RESTART_MILLIS } }, lost]
  }
  if (answer._tag === "Address") return addressed(options, state, answer.host, now)
  const { protocol, internalPort, externalPort, lifetimeSeconds } = answer
  if (!isAsked(phase, protocol) || internalPort !== options.port || state.host === undefined) return [state, []]
  if (externalPort === 0 || lifetimeSeconds === 0) {
    return refused(options, state, protocol, "the router grants no port", now)
  }
  return granted(options, state, protocol, { host: state.host, port: externalPort }, lifetimeSeconds, now)
}

const isAsked = (phase: Phase, question: Question) => phase._tag === "Asking" && phase.question === question

/** RFC 6886 §3.6: its clock may be an eighth slower than ours, and two seconds late. */
const leastEpoch = ({ seconds, at }: { readonly seconds: number; readonly at: number }, now: number) =>
  seconds + ((now - at) / 1_000) * (7 / 8) - 2

const addressed = (options: Options, state: State, host: string, now: number): Step => {
  const asked = isAsked(state.phase, "address")
  if (host === "0.0.0.0") return asked ? refused(options, state, "address", refusal(3), now) : [state, []]
  if (asked) return ask(options, { ...state, host }, options.protocols[0]!, 1, now)
  // Announced, not asked for.
  return state.host === undefined || state.host === host ? [state, []] : begin(options, state, now)
}

const granted = (
  options: Options,
  before: State,
  protocol: Protocol,
  external: SocketAddress,
  lifetimeSeconds: number,
  now: number
): Step => {
  const known = before.held[protocol]?.external
  const expiresAt = now + Math.min(lifetimeSeconds, LIFETIME_SECONDS) * 1_000
  const state: State = {
    ...before,
    failures: 0,
    held: { ...before.held, [protocol]: { external, expiresAt } },
    wished: { ...before.wished, [protocol]: external.port }
  }
  const opened: ReadonlyArray<Action> =
    known?.host === external.host && known.port === external.port
      ? []
      : [{ _tag: "Opened", protocol, external, lifetimeSeconds }]
  const [next, actions] = proceed(options, state, protocol, now)
  return [next, [...opened, ...actions]]
}

/** The next question of the round, or a rest until the next round. */
const proceed = (options: Options, state: State, protocol: Protocol, now: number): Step => {
  const next = options.protocols[options.protocols.indexOf(protocol) + 1]
  return next === undefined ? [rest(state, now), []] : ask(options, state, next, 1, now)
}

/** Until half of what is left of the shortest lifetime, or for longer each time when there is none. */
const rest = (state: State, now: number): State => {
  const left = Math.min(...Object.values(state.held).map(({ expiresAt }) => expiresAt - now))
  const millis = Number.isFinite(left)
    ? Math.max(left / 2, MIN_RENEWAL_MILLIS)
    : Math.min(REST_MILLIS * 2 ** Math.min(state.failures - 1, 10), MAX_REST_MILLIS)
  return { ...state, phase: { _tag: "Resting", until: now + millis } }
}

const refused = (options: Options, before: State, question: Question, reason: string, now: number): Step => {
  const gone = isOptional(options, question) ? [question] : protocolsOf(before.held)
  const [state, lost] = lose(before, gone, reason)
  const [next, actions] = failed(options, state, question, reason, now)
  return [next, [...lost, ...actions]]
}

/** After a question that came to nothing. What is held goes on: the next round may be answered before its end. */
const failed = (options: Options, state: State, question: Question, reason: string, now: number): Step => {
  const [next, actions]: Step = isOptional(options, question)
    ? proceed(options, state, question, now)
    : [rest({ ...state, failures: state.failures + 1 }, now), []]
  return [next, [{ _tag: "Failed", question, reason }, ...actions]]
}

const isOptional = ({ protocols }: Options, question: Question): question is Protocol =>
  question !== "address" && question !== protocols[0]

const lose = (state: State, protocols: ReadonlyArray<Protocol>, reason: string): Step => {
  if (protocols.length === 0) return [state, []]
  const held = { ...state.held }
  for (const protocol of protocols) delete held[protocol]
  const lost = protocols.filter((protocol) => state.held[protocol] !== undefined)
  return [{ ...state, held }, lost.map((protocol) => ({ _tag: "Lost", protocol, reason }))]
}

const begin = (options: Options, state: State, now: number): Step => ask(options, state, "address", 1, now)

/** Sends a question, for the first time or again. */
const ask = (options: Options, state: State, question: Question, tries: number, now: number): Step => {
  const until = now + FIRST_PAUSE_MILLIS * 2 ** (tries - 1)
  const next: State = { ...state, phase: { _tag: "Asking", question, tries, until } }
  const to = state.uplink?.gateway
  return [next, to === undefined ? [] : [{ _tag: "Send", to, request: requestOf(options, state, question) }]]
}

const requestOf = ({ port, protocols }: Options, { wished }: State, question: Question): Request =>
  question === "address"
    ? { _tag: "Address" }
    : {
        _tag: "Map",
        protocol: question,
        internalPort: port,
        // The same number for all of them, if it is free.
        externalPort: wished[question] ?? wished[protocols[0]!] ?? 0,
        lifetimeSeconds: LIFETIME_SECONDS
      }
