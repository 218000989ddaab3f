/**
 * Races whose second part is seldom needed: an Effect against something that plain code notices, a timer or a stream that
 * closes. Until then the other side costs a callback, and neither a fiber nor a sleep.
 */
import type { Duplex } from "node:stream"
import { Effect, Fiber } from "effect"

/** Calls `rival` at most once, with what is to be raced from then on. The result withdraws it. */
export type Watch<A, E> = (rival: (effect: Effect.Effect<A, E>) => void) => () => void

/** What the Effect comes to, or the first of the rivals. Ends when all others are interrupted. */
export const raceLater = <A, E, R, B = never, E2 = never>(
  self: Effect.Effect<A, E, R>,
  ...watches: ReadonlyArray<Watch<B, E2>>
): Effect.Effect<A | B, E | E2, R> =>
  Effect.contextWith((context) =>
    Effect.callback<A | B, E | E2, R>((resume) => {
      const run = Effect.runForkWith(context)
      const fibers: Array<Fiber.Fiber<A | B, E | E2>> = []
      const withdrawals: Array<() => void> = []
      const withdraw = () => {
        for (const withdrawal of withdrawals) withdrawal()
      }
      let done = false
      const enter = (effect: Effect.Effect<A | B, E | E2, R>) => {
        if (done) return
        const fiber = run(effect)
        fibers.push(fiber)
        fiber.addObserver((exit) => {
          if (done) return
          done = true
          withdraw()
          resume(fibers.length === 1 ? exit : Effect.andThen(Fiber.interruptAll(fibers), exit))
        })
      }
      enter(self)
      for (const watch of watches) if (!done) withdrawals.push(watch(enter))
      if (done) withdraw()
      return Effect.suspend(() => {
        done = true
        withdraw()
        return Fiber.interruptAll(fibers)
      })
    })
  )

/** After a time, in milliseconds of the system, not of the Clock. */
export const after =
  <A, E>(millis: number, effect: Effect.Effect<A, E>): Watch<A, E> =>
  (rival) => {
    const timer = setTimeout(rival, millis, effect)
    return () => clearTimeout(timer)
  }

/** When nobody is at the other end of the stream any more. */
export const whenClosed =
  <A, E>(stream: Duplex, effect: Effect.Effect<A, E>): Watch<A, E> =>
  (rival) => {
    const closed = () => rival(effect)
    if (stream.destroyed) closed()
    else stream.once("close", closed)
    return () => stream.off("close", closed)
  }
