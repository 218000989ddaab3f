/** Asking for a status over HTTP, as a program would do it. */
import { request } from "node:http"
import { Effect, Schema } from "effect"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"

export interface Answer {
  readonly code: number | undefined
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** One request on a connection of its own. */
export const ask = ({ host, port }: SocketAddress, method = "GET", path = "/", body = "", headers = {}) =>
  Effect.promise(
    () =>
      new Promise<Answer>((resolve, reject) => {
        const req = request({ host, port, method, path, headers, agent: false }, async (res) => {
          let text = ""
          for await (const part of res.setEncoding("utf8")) text += part
          resolve({ code: res.statusCode, headers: res.headers, text })
        })
        req.on("error", reject).end(body)
      })
  )

/** The value that an answer holds; nothing may be in it that the schema does not have. */
export const decoded = <A>(schema: Schema.Codec<A>, { text }: Answer) =>
  Effect.orDie(Schema.decodeUnknownEffect(schema)(JSON.parse(text), { onExcessProperty: "error" }))
