/** Services of HTTP, a tunnel in memory, and users who write bytes. */
import { once } from "node:events"
import { createServer, type RequestListener, type Server } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import { type Duplex, duplexPair } from "node:stream"
import { Effect, FiberSet, Logger } from "effect"
import type { Identity } from "../../../src/certs/Identity.ts"
import type { HttpUrl } from "../../../src/domain/EndpointUrl.ts"
import type { StreamFacts, StreamService } from "../../../src/endpoint/destination/StreamService.ts"
import { type HttpDestinationOptions, httpDestination } from "../../../src/endpoint/http/httpDestination.ts"
import { type Dial, type HttpSourceOptions, httpSource } from "../../../src/endpoint/http/httpSource.ts"
import type { Listen } from "../../../src/endpoint/source/listenUsers.ts"

export const httpUrl = (port: number, basePath = "", query = "", scheme: "http" | "https" = "http"): HttpUrl => ({
  _tag: scheme,
  host: "127.0.0.1",
  port,
  authority: `127.0.0.1:${port}`,
  basePath,
  query
})

/** An HTTP server of Node's; with its port, how many requests it saw, and its open connections. */
export const startHttpService = (listener: RequestListener, prepare: (server: Server) => void = () => {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const seen: Array<string> = []
      let connections = 0
      const server = createServer((req, res) => {
        seen.push(`${req.method} ${req.url}`)
        listener(req, res)
      })
      server.on("connection", (socket) => {
        connections++
        sockets.add(socket.on("error", () => {}))
        socket.once("close", () => sockets.delete(socket))
      })
      prepare(server)
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      return { port: (server.address() as AddressInfo).port, seen, sockets, connections: () => connections, server }
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )

/** Dials a destination in the same process; `streams` are those that are open on the source's side. */
export const tunnelTo = Effect.fnUntraced(function* (service: StreamService, facts?: StreamFacts) {
  const serve = yield* FiberSet.makeRuntime<never, void, never>()
  const streams = new Set<Duplex>()
  let dials = 0
  const dial: Dial = Effect.acquireRelease(
    Effect.sync(() => {
      dials++
      const [near, far] = duplexPair()
      streams.add(near.on("error", () => {}))
      near.once("close", () => {
        streams.delete(near)
        // What a tunnel does, and a pair of streams does not.
        if (!near.readableEnded) far.destroy()
      })
      far.once("close", () => {
        if (!far.writableFinished) near.destroy(new Error("the tunnel was cut"))
        else if (near.readableEnded) near.destroy()
        else near.once("end", () => near.destroy())
      })
      serve(service.serve(far, facts))
      return { stream: near, path: undefined as never, proxy: "none" as const }
    }),
    ({ stream }) => Effect.sync(() => stream.destroy())
  )
  return { dial, streams, dials: () => dials }
})

export const quiet = Logger.layer([])

/** Any port of this machine. */
export const anywhere: Listen = { _tag: "tcp", host: "127.0.0.1", port: 0 }

/** The same with TLS. */
export const securely = (identity: Identity, authorities?: ReadonlyArray<string>): Listen => ({
  ...anywhere,
  _tag: "tls",
  identity,
  authorities
})

/** The port of an address as text. */
export const portOf = (address: string): number => Number(address.split(":").at(-1))

/** An http source; its port. */
export const startSource = (dial: Dial, options: Partial<HttpSourceOptions> = {}) =>
  httpSource(dial, { name: "web", listen: anywhere, ...options }).pipe(Effect.map(portOf), Effect.provide(quiet))

/** An http source and an http destination, joined. */
export const startProxy = Effect.fnUntraced(function* (
  servicePort: number,
  options: {
    readonly source?: Partial<HttpSourceOptions>
    readonly destination?: Partial<HttpDestinationOptions>
  } = {}
) {
  const service = yield* httpDestination({ name: "web", url: httpUrl(servicePort), ...options.destination })
  const tunnel = yield* tunnelTo(service)
  const port = yield* startSource(tunnel.dial, options.source)
  return { port, ...tunnel }
}, Effect.provide(quiet))

/** Writes the parts to a port, and reads everything until the other side is done. */
export const raw = (port: number, text: string, { end = false } = {}) =>
  Effect.callback<string>((resume) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    let reply = ""
    socket.setEncoding("latin1").on("data", (more) => {
      reply += more
    })
    socket.on("error", () => {}).on("close", () => resume(Effect.succeed(reply)))
    socket.on("end", () => socket.end())
    socket.on("connect", () => (end ? socket.end(text, "latin1") : socket.write(text, "latin1")))
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeout("5 seconds"))

/** Waits until something holds, which an event will make true. */
export const eventually = (holds: () => boolean, what: string) =>
  Effect.callback<void>((resume) => {
    const timer = setInterval(() => {
      if (!holds()) return
      clearInterval(timer)
      resume(Effect.void)
    }, 5)
    return Effect.sync(() => clearInterval(timer))
  }).pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.die(new Error(`never: ${what}`)) }))
