/** `file:` beside nothing: an HTTP server on every stream of the tunnel, for the files of a folder, or for a single one. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { join } from "node:path"
import send from "@fastify/send"
import { Effect } from "effect"
import type { StreamService } from "../destination/StreamService.ts"
import { problems, respond } from "../http/errorPage.ts"
import type { Visit } from "../http/exchange.ts"
import { makeHttpServer } from "../http/HttpServer.ts"
import { DEFAULT_LIMITS, type HttpLimits } from "../http/limits.ts"
import { targetOf } from "../http/requestHead.ts"
import { serveStream } from "../http/serveStream.ts"
import { type Found, findFile } from "./findFile.ts"
import { listingPage, readFolder } from "./listing.ts"

export interface FileDestinationOptions {
  /** A folder or a file; relative to the working directory. */
  readonly root: string
  /** Whether folders without an index are listed; true by default. */
  readonly listings?: boolean | undefined
  /** Whether names that begin with a dot are served; false by default. */
  readonly dotFiles?: boolean | undefined
  readonly limits?: Partial<HttpLimits> | undefined
}

/** The files as a destination serves them, until the Scope ends. */
export const fileDestination = Effect.fnUntraced(function* (options: FileDestinationOptions) {
  const { root, listings = true, dotFiles = false } = options
  const limits = { ...DEFAULT_LIMITS, headMillis: 30_000, ...options.limits }

  const answer = async ({ req, res }: Visit): Promise<void> => {
    req.resume()
    if (req.method !== "GET" && req.method !== "HEAD") {
      return respond(req, res, problems.refused(405, "files are only read here"))
    }
    const [path, query] = splitAt(targetOf(req)!.path, "?")
    const found = await findFile(root, path, dotFiles)
    if (found._tag === "refused") return respond(req, res, problems.refused(found.status, found.why))
    if (found._tag === "moved") {
      const location = found.location + (query === undefined ? "" : `?${query}`)
      res.writeHead(301, { Location: location, "Content-Length": 0 }).end()
      return
    }
    if (found._tag === "file") return sendFile(req, res, found, limits)
    const index = await findFile(root, `${path}index.html`, dotFiles)
    if (index._tag === "file") return sendFile(req, res, index, limits)
    if (!listings) return respond(req, res, problems.refused(404, "there is no such file"))
    const page = listingPage(found.names, await readFolder(join(found.root, found.path), dotFiles))
    res.writeHead(200, {
      "Content-Type": "text/html; charset=utf-8",
      "Content-Length": Buffer.byteLength(page),
      "Cache-Control": "no-cache",
      "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
      "X-Content-Type-Options": "nosniff"
    })
    res.end(req.method === "HEAD" ? undefined : page)
  }

  const server = yield* makeHttpServer({
    limits,
    upgrades: false,
    // What a file system may answer beyond what was looked at is the user's bad luck, and no secret of it is told.
    visit: (visit) => void answer(visit).catch(() => respond(visit.req, visit.res, FAILED))
  })
  return { reach: Effect.void, serve: (stream) => serveStream(server, stream) } satisfies StreamService
})

const FAILED = { status: 500, title: "File not read", text: "The file is there, but it could not be read." }

/** Conditions, ranges and types are the library's; the path has no links left, so that it cannot leave the root. */
const sendFile = async (
  req: IncomingMessage,
  res: ServerResponse,
  { root, path }: Extract<Found, { readonly _tag: "file" }>,
  limits: HttpLimits
): Promise<void> => {
  const encoded = path.split(/[/\\]/).map(encodeURIComponent).join("/")
  const { statusCode, headers, stream, type } = await send(req, encoded, {
    root,
    index: false,
    dotfiles: "allow",
    cacheControl: false,
    highWaterMark: 65_536
  })
  // The user may have left meanwhile, and that is not told a second time.
  if (res.destroyed) {
    stream.destroy()
    return
  }
  if (type !== "file" && statusCode !== 412 && statusCode !== 416) {
    stream.destroy()
    return respond(req, res, problems.refused(404, "there is no such file"))
  }
  // Whoever asked for the file before asks whether it has changed; no guesses of how long it stays.
  const cache = type === "file" ? { "Cache-Control": "no-cache" } : {}
  res.writeHead(statusCode, { ...headers, ...cache, "X-Content-Type-Options": "nosniff" })
  const length = Number(headers["Content-Length"] ?? 0)
  if (req.method === "HEAD" || statusCode === 304 || length === 0) {
    stream.destroy()
    res.end()
    return
  }
  let sent = 0
  let moved = true
  const watch = setInterval(() => {
    if (!moved) res.destroy().socket?.destroy()
    moved = false
  }, limits.stallMillis)
  stream.on("data", (piece: Buffer) => {
    moved = true
    sent += piece.length
  })
  // A file that shrank meanwhile: what is missing must not look like the end.
  stream.on("error", () => res.socket?.destroy())
  stream.on("end", () => (sent === length ? res.end() : res.socket?.destroy()))
  res.on("close", () => {
    clearInterval(watch)
    stream.destroy()
  })
  stream.pipe(res, { end: false })
}

const splitAt = (text: string, separator: string): readonly [string, string | undefined] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)]
}
