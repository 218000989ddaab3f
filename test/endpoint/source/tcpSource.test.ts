import { connect } from "node:net"
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Logger } from "effect"
import { tcpSource } from "../../../src/endpoint/source/tcpSource.ts"
import { endpointWith } from "../links.ts"

it.live("a source lets 1,024 users wait for a path, refuses further ones, and says so once", () =>
  Effect.gen(function* () {
    const warnings: Array<unknown> = []
    const log = Logger.make<unknown, void>(({ message }) => void warnings.push(message))
    const endpoint = yield* endpointWith([])
    const address = yield* tcpSource(endpoint, {
      name: endpoint.name,
      listen: { _tag: "tcp", host: "127.0.0.1", port: 0 },
      dialTimeout: Duration.seconds(30)
    }).pipe(Effect.provide(Logger.layer([log])))

    const port = Number(address.split(":").at(-1))

    const refused = yield* Effect.acquireRelease(
      Effect.sync(() => {
        let resets = 0
        let done: () => void = () => {}
        const three = new Promise<void>((resolve) => {
          done = resolve
        })
        const users = Array.from({ length: 1_027 }, () =>
          connect({ port, host: "127.0.0.1" }).on("error", () => {
            resets++
            if (resets === 3) done()
          })
        )
        return { users, three, resets: () => resets }
      }),
      ({ users }) => Effect.sync(() => users.forEach((user) => user.destroy()))
    )
    yield* Effect.timeout(
      Effect.promise(() => refused.three),
      "10 seconds"
    )
    assert.strictEqual(refused.resets(), 3)
    assert.lengthOf(
      warnings.filter((message) => String(message) === "connections.refused"),
      1
    )
  })
)
