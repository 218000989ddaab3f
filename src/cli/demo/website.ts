import { once } from "node:events"
import { createReadStream } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { pipeline } from "node:stream"
import { Effect } from "effect"
import type { Stage } from "./Stage.ts"

/** The service behind the destination: a page for people and the file to download, on a free port of this machine. */
export const website = (download: Stage["download"]) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer((request, response) => {
        if (request.url === "/download.bin") {
          response.writeHead(200, { "content-type": "application/octet-stream", "content-length": download.bytes })
          // A visitor who leaves early is no error.
          pipeline(createReadStream(download.path), response, () => {})
          return
        }
        response.writeHead(request.url === "/" ? 200 : 404, { "content-type": "text/html; charset=utf-8" })
        response.end(PAGE)
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    closed
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

const closed = (server: Server) =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

const PAGE = `<!doctype html><meta charset="utf-8"><title>connet demo</title>
<p>This page came through a connet tunnel: your browser, the source, QUIC, the destination, a web server.
<p><a href="/download.bin">Download 64 MiB</a>
`
