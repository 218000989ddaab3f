import { PassThrough } from "node:stream"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { openFor } from "../../src/internal/openFor.ts"

it.effect("a stream whose use succeeds is destroyed with the Scope, and no earlier", () =>
  Effect.gen(function* () {
    const stream = new PassThrough()
    const scope = yield* Scope.make()
    const used = openFor(Effect.succeed(stream), () => Effect.succeed("used"))
    assert.strictEqual(yield* Effect.provideService(used, Scope.Scope, scope), "used")
    assert.isFalse(stream.destroyed)
    yield* Scope.close(scope, Exit.void)
    assert.isTrue(stream.destroyed)
  })
)

it.effect("nothing is left of a stream whose use fails", () =>
  Effect.gen(function* () {
    const stream = new PassThrough()
    const used = openFor(Effect.succeed(stream), () => Effect.fail("refused"))
    assert.strictEqual(yield* Effect.flip(used), "refused")
    assert.isTrue(stream.destroyed)
  }).pipe(Effect.scoped)
)

it.effect("nothing is left of a stream whose use is interrupted", () =>
  Effect.gen(function* () {
    const stream = new PassThrough()
    const using = yield* Effect.forkChild(
      openFor(Effect.succeed(stream), () => Effect.never),
      { startImmediately: true }
    )
    assert.isFalse(stream.destroyed)
    yield* Fiber.interrupt(using)
    assert.isTrue(stream.destroyed)
  }).pipe(Effect.scoped)
)
