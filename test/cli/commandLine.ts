/** The command line within the process of the test: what it says, how it ends, and the sockets that it opens meanwhile. */
import dgram from "node:dgram"
import { syncBuiltinESMExports } from "node:module"
import net from "node:net"
import { Cause, Effect, Exit } from "effect"
import { Ended } from "../../src/cli/launch.ts"
import { run } from "../../src/cli/main.ts"

/** Runs the command line: its exit code, and what it wrote to stderr. */
export const connet = (...args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    let stderr = ""
    const write = process.stderr.write
    process.stderr.write = (text) => {
      stderr += String(text)
      return true
    }
    const exit = yield* run(args).pipe(
      Effect.exit,
      Effect.ensuring(
        Effect.sync(() => {
          process.stderr.write = write
        })
      )
    )
    if (Exit.isSuccess(exit)) return { code: 0, stderr }
    const ended = Cause.squash(exit.cause)
    return { code: ended instanceof Ended ? ended.code : -1, stderr }
  })

/** Counts the sockets that anything in this process opens, binds or connects while the Scope is open. */
export const countSockets = Effect.acquireRelease(
  Effect.sync(() => {
    const counted = { sockets: 0 }
    const restored = [
      count(counted, dgram, "createSocket"),
      count(counted, net.Server.prototype, "listen"),
      // What `net.connect` and `tls.connect` call.
      count(counted, net.Socket.prototype, "connect")
    ]
    syncBuiltinESMExports()
    return { counted, restored }
  }),
  ({ restored }) =>
    Effect.sync(() => {
      for (const restore of restored) restore()
      syncBuiltinESMExports()
    })
).pipe(
  Effect.map(
    ({ counted }) =>
      () =>
        counted.sockets
  )
)

const count = <K extends string>(
  counted: { sockets: number },
  owner: Record<K, (...args: ReadonlyArray<never>) => unknown>,
  name: K
) => {
  const original = owner[name]
  owner[name] = function (this: unknown, ...args) {
    counted.sockets += 1
    return Reflect.apply(original, this, args)
  }
  return () => {
    owner[name] = original
  }
}
