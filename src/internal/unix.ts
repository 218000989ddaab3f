/**
 * Unix domain sockets as Effects. A file of a socket outlives the process that made it, so whoever listens has to find out
 * whether somebody still does: a stale one is replaced, a live one never.
 */
import type { Stats } from "node:fs"
import { lstat, unlink } from "node:fs/promises"
import { createServer, type Server, type Socket } from "node:net"
import { dirname } from "node:path"
import { Data, Effect } from "effect"
import { BACKLOG, connect } from "./tcp.ts"

/** Dials. The socket is destroyed when interrupted, else it is the caller's; fails with the system's error. */
export const connectUnix = (path: string): Effect.Effect<Socket, NodeJS.ErrnoException> => connect({ path })

/** Why a path cannot be listened on; `code` is the system's, or one of ours. */
export class UnixListenFailed extends Data.TaggedError("UnixListenFailed")<{
  /** `LIVE`: somebody listens there. `NO_SOCKET`: another kind of file is there. `NO_FOLDER`: nowhere to put it. */
  readonly code: string
}> {}

/**
 * Listens until the Scope ends; sockets arrive paused. The file may be used by its owner only, replaces a stale one, and is
 * removed at the end. Sockets that were accepted are not closed with the server.
 */
export const listenUnix = (path: string, accepted: (socket: Socket) => void) =>
  Effect.acquireRelease(
    listen(path, accepted).pipe(
      Effect.catchIf(
        ({ code }) => code === "EADDRINUSE",
        () => Effect.andThen(clear(path), listen(path, accepted))
      ),
      Effect.catch((error) => Effect.flatMap(explain(path, error.code), (code) => new UnixListenFailed({ code })))
    ),
    // Node removes the file.
    (server) => Effect.sync(() => server.close())
  )

const listen = (path: string, accepted: (socket: Socket) => void) =>
  Effect.callback<Server, { readonly code: string }>((resume) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, accepted)
    server.once("error", ({ code = "unknown error" }: NodeJS.ErrnoException) => resume(Effect.fail({ code })))
    // Node makes the file within this call, and nobody else may use it for a moment either.
    const mask = process.umask(0o177)
    try {
      server.listen({ path, backlog: BACKLOG }, () => resume(Effect.succeed(server)))
    } finally {
      process.umask(mask)
    }
    return Effect.sync(() => server.close())
  })

/** Removes the file of a socket that nobody listens on. */
const clear = Effect.fnUntraced(function* (path: string) {
  const before = yield* look(path)
  if (before === undefined) return
  if (!before.isSocket()) return yield* Effect.fail({ code: "NO_SOCKET" })
  const answer = yield* Effect.result(Effect.map(connectUnix(path), (socket) => socket.destroy()))
  const code = answer._tag === "Success" ? "LIVE" : (answer.failure.code ?? "unknown error")
  if (code === "ENOENT") return
  if (code !== "ECONNREFUSED") return yield* Effect.fail({ code })
  // Another one may have replaced it meanwhile, and listen.
  if ((yield* look(path))?.ino !== before.ino) return yield* Effect.fail({ code: "LIVE" })
  yield* Effect.ignore(Effect.tryPromise(() => unlink(path)))
})

const look = (path: string): Effect.Effect<Stats | undefined> =>
  Effect.orElseSucceed(
    Effect.tryPromise(() => lstat(path)),
    () => undefined
  )

/** The system says that permission is denied also where the folder is missing. */
const explain = (path: string, code: string) =>
  code !== "EACCES" && code !== "ENOENT"
    ? Effect.succeed(code)
    : Effect.map(look(dirname(path)), (folder) => (folder?.isDirectory() ? code : "NO_FOLDER"))
