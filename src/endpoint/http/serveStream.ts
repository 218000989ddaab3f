import type { Duplex } from "node:stream"
import { Effect } from "effect"
import { abort } from "../../internal/abort.ts"
import type { HttpServer } from "./HttpServer.ts"

/** Serves one stream of a tunnel until it is over; cuts it when interrupted. */
export const serveStream = (server: HttpServer, stream: Duplex): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (stream.closed) return resume(Effect.void)
    stream.once("close", () => resume(Effect.void))
    server.accept(stream)
    return Effect.sync(() => abort(stream))
  })
