/**
 * The listeners of one endpoint, the same for every transport: who may listen for what, who may enter, and the
 * connections that entered and wait to be accepted.
 */
import { Effect, type Scope } from "effect"
import type { Identity } from "../certs/Identity.ts"
import type { Connection, Listener, ListenOptions } from "./Transport.ts"
import { Closed, ListenConflict, TransportError } from "./TransportError.ts"
import { refusal } from "./Trust.ts"

/** Connections that wait to be accepted; further ones are refused. */
const MAX_WAITING = 256

/** Close code for a client that may not enter: upstream's "authentication failed". */
const NOT_EXPECTED = 100

const NOT_ACCEPTING = "not accepting connections"

/** Gets the next connection, or undefined when the listener was closed. */
type Acceptor<C> = (connection: C | undefined) => void

interface ActiveListener<C> {
  options: ListenOptions
  /** Empty while acceptors wait. */
  readonly entered: Array<C>
  readonly acceptors: Array<Acceptor<C>>
  closed: boolean
}

export interface ListenersOptions<C> {
  readonly close: (connection: C, code: number, text: string) => void
  readonly toConnection: (connection: C) => Connection
  /** Told after a listener came or went, or shows another identity. */
  readonly changed?: () => void
}

export class Listeners<C> {
  readonly #active = new Set<ActiveListener<C>>()
  readonly #options: ListenersOptions<C>

  constructor(options: ListenersOptions<C>) {
    this.#options = options
  }

  get size(): number {
    return this.#active.size
  }

  /** What all listeners show and demand, with the protocols of all of them; undefined when there is none. */
  get common(): ListenOptions | undefined {
    const [first] = this.#active
    return first && { ...first.options, protocols: [...this.#active].flatMap(({ options }) => options.protocols) }
  }

  /** Listens until the Scope ends; who waits to be accepted then is refused. */
  listen(wanted: ListenOptions): Effect.Effect<Listener, TransportError, Scope.Scope> {
    return Effect.suspend(() => {
      const conflict = this.#conflict(wanted)
      if (conflict !== undefined) {
        return Effect.fail(new TransportError({ reason: new ListenConflict({ detail: conflict }) }))
      }
      const active: ActiveListener<C> = { options: wanted, entered: [], acceptors: [], closed: false }
      const open = Effect.sync(() => {
        this.#active.add(active)
        this.#options.changed?.()
      })
      return Effect.as(
        Effect.acquireRelease(open, () => Effect.sync(() => this.#close(active))),
        this.#listener(active)
      )
    })
  }

  /** Shows another identity from now on, with all listeners. */
  renew(identity: Identity): Effect.Effect<void> {
    return Effect.sync(() => {
      for (const active of this.#active) active.options = { ...active.options, identity }
      this.#options.changed?.()
    })
  }

  /** Decides about a connection that arrived for a protocol, showing a certificate (DER). */
  enter(connection: C, protocol: string, certificate: Uint8Array | undefined): void {
    const listener = [...this.#active].find(({ options }) => options.protocols.includes(protocol))
    if (listener === undefined || listener.entered.length >= MAX_WAITING) {
      this.#options.close(connection, 0, NOT_ACCEPTING)
      return
    }
    const refused = refusal(listener.options.trust, certificate, new Date())
    if (refused !== undefined) {
      this.#options.close(connection, NOT_EXPECTED, refused.message)
      return
    }
    const acceptor = listener.acceptors.shift()
    if (acceptor === undefined) listener.entered.push(connection)
    else acceptor(connection)
  }

  /** One socket has one certificate, and asks everyone for theirs or no one. */
  #conflict(wanted: ListenOptions): string | undefined {
    for (const { options } of this.#active) {
      const taken = options.protocols.find((protocol) => wanted.protocols.includes(protocol))
      if (taken !== undefined) return `the protocol ${taken} has a listener on this socket already`
      if (options.identity !== wanted.identity) return "the listeners of one socket show the same certificate"
      if ((options.trust._tag === "Anyone") !== (wanted.trust._tag === "Anyone")) {
        return "either all listeners of one socket ask for a certificate or none does"
      }
    }
    return undefined
  }

  #close(active: ActiveListener<C>): void {
    active.closed = true
    this.#active.delete(active)
    for (const connection of active.entered.splice(0)) this.#options.close(connection, 0, NOT_ACCEPTING)
    for (const acceptor of active.acceptors.splice(0)) acceptor(undefined)
    this.#options.changed?.()
  }

  #listener(active: ActiveListener<C>): Listener {
    const closed = new TransportError({
      reason: new Closed({ by: "local", code: 0, application: true, text: "the listener is closed" })
    })
    const next = Effect.callback<C, TransportError>((resume) => {
      const acceptor: Acceptor<C> = (connection) =>
        resume(connection === undefined ? Effect.fail(closed) : Effect.succeed(connection))
      const waiting = active.entered.shift()
      if (waiting !== undefined || active.closed) {
        acceptor(waiting)
        return
      }
      active.acceptors.push(acceptor)
      return Effect.sync(() => {
        const at = active.acceptors.indexOf(acceptor)
        if (at >= 0) active.acceptors.splice(at, 1)
      })
    })
    const release = (connection: C) => Effect.sync(() => this.#options.close(connection, 0, ""))
    return {
      accept: Effect.map(Effect.acquireRelease(next, release, { interruptible: true }), this.#options.toConnection)
    }
  }
}
