import { createHash } from "node:crypto"
import { get } from "node:http"
import { Effect, Schema } from "effect"

/** The request did not bring what was asked for. */
export class FetchFailed extends Schema.TaggedError<FetchFailed>()("FetchFailed", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

export interface Fetched {
  readonly bytes: number
  readonly sha256: string
  /** From the first step of connecting until the first byte of the body. */
  readonly firstByteMillis: number
  readonly totalMillis: number
}

/** Downloads over a connection of its own. */
export const fetchFile = (url: string): Effect.Effect<Fetched, FetchFailed> =>
  Effect.callback((resume) => {
    const started = performance.now()
    const fail = (error: Error) => resume(new FetchFailed({ detail: error.message }))
    const request = get(url, { agent: false }, (response) => {
      if (response.statusCode !== 200) return fail(new Error(`${url} answers ${response.statusCode}`))
      const hash = createHash("sha256")
      let bytes = 0
      let firstByteMillis = 0
      response.on("data", (chunk: Buffer) => {
        if (bytes === 0) firstByteMillis = performance.now() - started
        bytes += chunk.length
        hash.update(chunk)
      })
      response.once("end", () => {
        const totalMillis = performance.now() - started
        resume(Effect.succeed({ bytes, sha256: hash.digest("hex"), firstByteMillis, totalMillis }))
      })
      response.once("error", fail)
    })
    request.once("error", fail)
    return Effect.sync(() => request.destroy())
  })
