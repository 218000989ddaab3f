/** What performs `Health`: one fiber that probes the service and tells sources, while dials report what they saw. */
import { Clock, Effect, Queue, type Scope, SubscriptionRef } from "effect"
import type { EndpointError } from "../EndpointError.ts"
import { HEALTHY, nextTask, probing, seen, told } from "./Health.ts"

export interface HealthWatch {
  /** What sources are to be told: whether the service is down. */
  readonly down: SubscriptionRef.SubscriptionRef<boolean>
  /** The dial, with its outcome noted. */
  readonly watched: <A, R>(dial: Effect.Effect<A, EndpointError, R>) => Effect.Effect<A, EndpointError, R>
}

/** Watches a service until the Scope ends. `probe` dials it; what comes of it is let go at once. */
export const watchHealth = Effect.fnUntraced(function* (probe: Effect.Effect<unknown, EndpointError, Scope.Scope>) {
  const down = yield* SubscriptionRef.make(false)
  /** Something is to be done, or not any more. */
  const changed = yield* Queue.sliding<void>(1)
  let health = HEALTHY

  const note = (reached: boolean) =>
    Effect.gen(function* () {
      const before = health
      health = seen(health, reached, yield* Clock.currentTimeMillis)
      if (health !== before) yield* Queue.offer(changed, undefined)
    })

  const watched: HealthWatch["watched"] = (dial) =>
    dial.pipe(
      // The usual case costs a comparison.
      Effect.tap(() => (health.service === "Up" ? Effect.void : note(true))),
      Effect.tapError(({ reason }) => (reason._tag === "ServiceUnreachable" ? note(false) : Effect.void))
    )

  /** A user got through while a probe was under way. */
  const recovered = Effect.repeat(Queue.take(changed), { until: () => health.service === "Up" })

  const perform = Effect.gen(function* () {
    const task = nextTask(health)
    if (task === undefined) return yield* Queue.take(changed)
    const now = yield* Clock.currentTimeMillis
    if (task.at > now) return yield* Effect.raceFirst(Effect.sleep(task.at - now), Queue.take(changed))
    if (task._tag === "Probe") {
      health = probing(health, now)
      return yield* Effect.raceFirst(Effect.ignore(Effect.scoped(watched(probe))), recovered)
    }
    health = told(health, now)
    const isDown = health.told === "Down"
    yield* SubscriptionRef.set(down, isDown)
    return yield* isDown ? Effect.logWarning("service.down") : Effect.logInfo("service.up")
  })
  yield* perform.pipe(
    Effect.forever,
    Effect.tapDefect((defect) => Effect.logError("health watch failed", defect)),
    Effect.forkScoped
  )
  return { down, watched } satisfies HealthWatch
})
