/** Every kind of source with every kind of destination, in real processes: the same request of HTTP gets through each. */
import { once } from "node:events"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import { createServer as createSecure } from "node:https"
import { type AddressInfo, connect, type Server } from "node:net"
import { join } from "node:path"
import type { Duplex } from "node:stream"
import { connect as connectTls } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Schedule } from "effect"
import { createWebSocketStream, WebSocket } from "ws"
import { startProcess, TookTooLong } from "./Process.ts"
import { freePort, stageFor } from "./Tunnel.ts"

const SOURCES = ["tcp", "tls", "unix", "http", "https", "ws", "wss"] as const
const DESTINATIONS = ["tcp", "tls", "unix", "http", "https", "file"] as const

type SourceKind = (typeof SOURCES)[number]

class Failed extends Data.TaggedError("Failed")<{ readonly detail: string }> {}

/** Once, and never the address of the tunnel: whom an end that knows requests tells the service of. */
const usersOf = (source: SourceKind, destination: (typeof DESTINATIONS)[number]): RegExp => {
  const told =
    source === "http" ||
    source === "https" ||
    ((destination === "http" || destination === "https") && source !== "unix")
  return told && destination !== "file" ? /^(?:127\.0\.0\.1|::1)$/ : /^undefined$/
}

const REQUEST = "GET /page.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

const listening = (server: Server & { closeAllConnections(): void }, where: number | string) =>
  Effect.acquireRelease(
    Effect.promise(() => once(typeof where === "string" ? server.listen(where) : server.listen(where), "listening")),
    () =>
      Effect.sync(() => {
        server.close()
        server.closeAllConnections()
      })
  ).pipe(Effect.map(() => (server.address() as AddressInfo).port))

/** A user of a source, as a stream of bytes. */
const userOf = (kind: SourceKind, port: number, path: string, ca: string): Duplex => {
  if (kind === "unix") return connect({ path })
  if (kind === "tcp" || kind === "http") return connect({ port, host: "127.0.0.1" })
  if (kind === "tls" || kind === "https") return connectTls({ port, host: "127.0.0.1", servername: "localhost", ca })
  return createWebSocketStream(new WebSocket(`${kind}://localhost:${port}/`, { ca }))
}

const visit = (open: () => Duplex) =>
  Effect.callback<string, Failed>((resume) => {
    const user = open()
    let reply = ""
    user.on("data", (part) => {
      reply += part
    })
    user.on("error", ({ message }) => resume(new Failed({ detail: message })))
    user.on("end", () => resume(Effect.succeed(reply)))
    user.write(REQUEST)
    return Effect.sync(() => user.destroy())
  }).pipe(
    Effect.filterOrFail(
      (reply) => /^HTTP\/1\.1 200 /.test(reply) && reply.includes("a page"),
      (detail) => new Failed({ detail })
    ),
    Effect.timeout("5 seconds"),
    Effect.retry(Schedule.spaced("200 millis").pipe(Schedule.upTo({ times: 60 })))
  )

const table = (kind: string, name: string, settings: Record<string, string>) =>
  `[client.${kind}.${name}]\n${Object.entries(settings)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join("")}`

describe("processes", () => {
  for (const route of ["direct", "relay"]) {
    it.live(
      `carry every kind of source to every kind of destination over ${route} paths`,
      () =>
        Effect.gen(function* () {
          const { path, ports } = yield* stageFor(1)
          const ca = readFileSync(join(path, "server.crt"), "utf8")
          const identity = { cert: ca, key: readFileSync(join(path, "server.key"), "utf8") }
          mkdirSync(join(path, "public"))
          writeFileSync(join(path, "public", "page.txt"), "a page")
          const page: RequestListener = ({ headers }, res) => res.end(`a page for ${headers["x-forwarded-for"]}.`)
          const plain = yield* listening(createServer(page), 0)
          const secure = yield* listening(createSecure(identity, page), 0)
          yield* listening(createServer(page), join(path, "service.sock"))
          const services = {
            tcp: { url: `tcp://localhost:${plain}` },
            tls: { url: `tls://localhost:${secure}`, "cas-file": "server.crt" },
            unix: { url: "unix:service.sock" },
            http: { url: `http://localhost:${plain}` },
            https: { url: `https://localhost:${secure}`, "cas-file": "server.crt" },
            file: { url: "file:public" }
          }
          const client = `[client]\ntoken = "replace-this-token"\nserver-addr = "localhost:${ports.server}"\nserver-cas-file = "server.crt"\ndirect-addr = ":0"\n`
          const pairs = SOURCES.flatMap((source) =>
            DESTINATIONS.map((destination) => ({ source, destination, name: `${source}-${destination}` }))
          )
          let [destinations, sources] = [client, client]
          const listens = new Map<string, number>()
          for (const { source, destination, name } of pairs) {
            const port = source === "unix" ? 0 : yield* freePort
            listens.set(name, port)
            const files = { "cert-file": "server.crt", "key-file": "server.key" }
            destinations += table("destinations", name, { ...services[destination], route })
            sources += table("sources", name, {
              url: source === "unix" ? `unix:${name}.sock` : `${source}://localhost:${port}`,
              route,
              ...(["tls", "https", "wss"].includes(source) && files)
            })
          }
          writeFileSync(join(path, "destinations.toml"), destinations)
          writeFileSync(join(path, "sources.toml"), sources)
          yield* startProcess(["server", "--config", "server.toml"], path)
          const processes = [
            yield* startProcess(["--config", "destinations.toml"], path),
            yield* startProcess(["--config", "sources.toml"], path)
          ]
          yield* Effect.forEach(
            pairs,
            ({ source, destination, name }) =>
              visit(() => userOf(source, listens.get(name)!, join(path, `${name}.sock`), ca)).pipe(
                Effect.tap((reply) => {
                  const [, users] = /a page for (.*)\./.exec(reply) ?? []
                  assert.match(String(users), usersOf(source, destination), `users told by ${name}`)
                  return Effect.void
                }),
                Effect.mapError((error) => {
                  const log = processes.map((each) => each.log()).join("\n")
                  return new TookTooLong({ detail: `${name}: ${JSON.stringify(error)}\n${log.slice(-4_000)}` })
                })
              ),
            { concurrency: 4, discard: true }
          )
          assert.lengthOf(pairs, 42)
        }),
      90_000
    )
  }
})
