/** A control server, clients and services in one process, over any transport, with the events that they log. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Cause, Context, Data, Duration, Effect, Exit, Fiber, Layer, Logger, Redacted, References, Scope } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { makeAccess } from "../../src/directory/server/Access.ts"
import { ControlServer } from "../../src/directory/server/ControlServer.ts"
import { type Balancing, NO_BALANCING } from "../../src/domain/Balancing.ts"
import type { Carrier, TransportChoice } from "../../src/domain/Carrier.ts"
import type { Encryption } from "../../src/domain/Encryption.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import type { Route } from "../../src/domain/Route.ts"
import type { SocketAddress } from "../../src/domain/SocketAddress.ts"
import { unrestricted } from "../../src/domain/TokenRule.ts"
import { Client, type ClientEndpoint, type ClientSnapshot } from "../../src/endpoint/Client.ts"
import type { FindUplink } from "../../src/peer/natpmp/Uplink.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import type { ProxyVersion } from "../../src/protocol/Connect.ts"
import { type Running, startCombined } from "../../src/relay/server/Relay.ts"
import { type Connection, type Endpoint, Transport } from "../../src/transport/Transport.ts"
import { DialTimedOut, TransportError } from "../../src/transport/TransportError.ts"
import { Trust } from "../../src/transport/Trust.ts"

/** Something that was logged. */
export interface Event {
  readonly message: string
  readonly detail: unknown
  readonly fields: Readonly<Record<string, unknown>>
}

export class TookTooLong extends Data.TaggedError("TookTooLong")<{ readonly detail: string }> {
  override get message() {
    return this.detail
  }
}

export interface Endpoints {
  /** Port of the service by name of the endpoint. */
  readonly destinations?: Readonly<Record<string, number>>
  readonly sources?: ReadonlyArray<string>
  /** A port for one more source, named `taken`. */
  readonly taken?: number
  readonly dialTimeout?: Duration.Duration
  readonly route?: Route
  readonly transport?: TransportChoice
  readonly relayEncryptions?: ReadonlyArray<Encryption>
  readonly proxyHeader?: ProxyVersion
  readonly balancing?: Balancing
  readonly earlyData?: boolean
  readonly health?: boolean
  /** The way to a router that is asked to forward the port of the client; none is unless a test has one. */
  readonly findUplink?: FindUplink
}

export interface RunningClient {
  readonly events: ReadonlyArray<Event>
  /** Waits for an event. */
  readonly says: (message: string, fields?: Readonly<Record<string, unknown>>) => Effect.Effect<Event, TookTooLong>
  /** Where a source listens. */
  readonly port: (endpoint: string) => Effect.Effect<number, TookTooLong>
  /** What it knows at the moment; once it has said something. */
  readonly snapshot: () => ClientSnapshot
  readonly stop: Effect.Effect<void>
}

const WITHIN = Duration.seconds(12)

/** A control server; the clients of `client` live in the Scope that they are started in. */
export const makeWorld = Effect.fnUntraced(function* (
  transport: Layer.Layer<Transport, TransportError>,
  {
    relay = false,
    over = Effect.succeed
  }: {
    readonly relay?: boolean
    /** What clients dial instead of an address of each other, or of the relay: a link that leads there. */
    readonly over?: (address: SocketAddress, carrier: Carrier) => Effect.Effect<SocketAddress, never, Scope.Scope>
  } = {}
) {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["127.0.0.1"])
  const bound: Array<Endpoint> = []
  const original = yield* Layer.build(transport)
  let blocked = false
  const directs = new Set<Connection>()
  /** Direct links are kept in sight, and dialed in vain while they are blocked. */
  const watched = (endpoint: Endpoint): Endpoint => ({
    ...endpoint,
    dial: (target) => {
      const dialed = Effect.flatMap(over(target.address, target.carrier ?? "quic"), (address) =>
        endpoint.dial({ ...target, address })
      )
      if (target.protocols.includes(Alpn.relay[0])) return dialed
      if (!target.protocols.includes(Alpn.direct[0])) return endpoint.dial(target)
      return blocked
        ? Effect.andThen(Effect.sleep(target.timeout), Effect.fail(new TransportError({ reason: NO_ANSWER })))
        : Effect.tap(dialed, (connection) => Effect.sync(() => directs.add(connection)))
    }
  })
  const provided = Context.make(
    Transport,
    Transport.of({
      bind: (options) =>
        Effect.map(Context.get(original, Transport).bind(options), (endpoint) => {
          bound.push(endpoint)
          return watched(endpoint)
        })
    })
  )
  let server = { host: "127.0.0.1", port: 0 }
  let snapshot: Running["snapshot"] = Effect.die("there is no relay")
  let serverScope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(serverScope, Exit.void))

  const start = Effect.gen(function* () {
    serverScope = yield* Scope.make()
    const control = {
      ingresses: [{ address: server, identity }],
      access: makeAccess([unrestricted(Redacted.make("token"))]),
      endpointExpiry: Duration.seconds(30)
    }
    const anywhere = { host: "127.0.0.1", port: 0 }
    const ingresses = [{ address: anywhere, advertised: [anywhere] }]
    const combined = startCombined({ control, relay: { ingresses, limits: {}, buildVersion: "test" } }).pipe(
      Effect.tap((running) =>
        Effect.sync(() => {
          snapshot = running.snapshot
        })
      ),
      Effect.tap(({ run }) => Effect.forkScoped(Effect.orDie(run)))
    )
    const started: Effect.Effect<
      { readonly clients: ReadonlyArray<SocketAddress> },
      TransportError,
      Transport | Scope.Scope
    > = relay ? combined : ControlServer.start(control)
    const { clients } = yield* started.pipe(
      Effect.provideService(Scope.Scope, serverScope),
      Effect.provide(provided),
      Effect.provide(silent)
    )
    server = clients[0]!
  })
  yield* start

  const client = Effect.fnUntraced(function* (endpoints: Endpoints) {
    const events: Array<Event> = []
    const waiting = new Set<() => void>()
    const log = Logger.make<unknown, void>(({ message, fiber }) => {
      const [first, detail] = Array.isArray(message) ? message : [message]
      events.push({ message: String(first), detail, fields: fiber.getRef(References.CurrentLogAnnotations) })
      for (const look of waiting) look()
    })
    const option: ClientEndpoint = {
      route: endpoints.route ?? "any",
      transport: endpoints.transport ?? "auto",
      dialTimeout: endpoints.dialTimeout,
      relayEncryptions: endpoints.relayEncryptions ?? ["tls", "dhxcp"]
    }
    const local = (port: number) => ({ _tag: "tcp", host: "127.0.0.1", port }) as const
    const { proxyHeader = "none", balancing = NO_BALANCING, earlyData, health } = endpoints
    const destinations = Object.entries(endpoints.destinations ?? {}).map(
      ([name, port]) =>
        [name as EndpointName, { ...option, service: local(port), proxyHeader, earlyData, health }] as const
    )
    const ports = [
      ...(endpoints.sources ?? []).map((name) => [name, 0] as const),
      ...(endpoints.taken === undefined ? [] : [["taken", endpoints.taken] as const])
    ]
    const sources = ports.map(
      ([name, port]) => [name as EndpointName, { ...option, listen: local(port), balancing }] as const
    )
    let snapshot: RunningClient["snapshot"] | undefined
    const fiber = yield* Client.start({
      server,
      trust: Trust.authorities("127.0.0.1", [authority.certificatePem]),
      token: Redacted.make("token"),
      metadata: "test",
      buildVersion: "test",
      directAddress: { host: "127.0.0.1", port: 0 },
      findUplink: endpoints.findUplink,
      handshakeTimeout: Duration.seconds(1),
      destinations: new Map(destinations),
      sources: new Map(sources)
    }).pipe(
      Effect.tap((client) =>
        Effect.sync(() => {
          snapshot = client.snapshot
        })
      ),
      Effect.flatMap(({ run }) => run),
      Effect.scoped,
      Effect.provide(provided),
      Effect.provide(Logger.layer([log])),
      Effect.provideService(References.MinimumLogLevel, "Debug"),
      Effect.tapCause((cause) =>
        Effect.sync(() => events.push({ message: Cause.pretty(cause), detail: "", fields: {} }))
      ),
      Effect.forkScoped
    )
    const says: RunningClient["says"] = (message, fields = {}) =>
      Effect.callback<Event>((resume) => {
        const look = () => {
          const found = events.find(
            (event) =>
              event.message === message && Object.entries(fields).every(([key, value]) => event.fields[key] === value)
          )
          if (found !== undefined) resume(Effect.succeed(found))
        }
        waiting.add(look)
        look()
        return Effect.sync(() => waiting.delete(look))
      }).pipe(
        Effect.timeoutOrElse({
          duration: WITHIN,
          orElse: () => new TookTooLong({ detail: `no ${message} in\n${events.map(told).join("\n")}` })
        })
      )
    return {
      events,
      says,
      port: (endpoint) =>
        Effect.map(says("source.listening", { endpoint }), ({ fields }) =>
          Number(String(fields.address).split(":").at(-1))
        ),
      snapshot: () => snapshot!(),
      stop: Fiber.interrupt(fiber)
    } satisfies RunningClient
  })

  /** How many streams are open, on all sockets together. */
  const streams = () => bound.reduce((sum, endpoint) => sum + endpoint.counts().streams, 0)

  /** From now on no direct link opens; those that are open are cut. */
  const blockDirect = Effect.suspend(() => {
    blocked = true
    return Effect.forEach(directs, (connection) => connection.close(0, ""), { discard: true })
  })
  const unblockDirect = Effect.sync(() => {
    blocked = false
  })

  return {
    blockDirect,
    unblockDirect,
    client,
    streams,
    /** What the server and its relay know at the moment. */
    snapshot: Effect.suspend(() => snapshot),
    stopServer: Effect.suspend(() => Scope.close(serverScope, Exit.void)),
    startServer: start
  }
})

const NO_ANSWER = new DialTimedOut({ afterMillis: 1_000 })

const silent = Logger.layer([])

const told = ({ message, detail, fields }: Event) => `${message} ${detail ?? ""} ${JSON.stringify(fields)}`

/** A TCP service; the port it listens on, any unless one is given. Its connections are cut with the Scope. */
export const startService = (serve: (socket: Socket) => void, port = 0) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const sockets = new Set<Socket>()
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        sockets.add(socket.on("error", () => {}))
        serve(socket)
      }).listen(port, "127.0.0.1")
      await once(server, "listening")
      return { server, sockets }
    }),
    ({ server, sockets }) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  ).pipe(Effect.map(({ server }) => (server.address() as AddressInfo).port))

/** Answers, only after its visitor has finished, with its own name and what it was told. */
export const named = (name: string) => (socket: Socket) => {
  let text = ""
  socket.on("data", (more) => {
    text += more
  })
  socket.on("end", () => socket.end(`${name}:${text}`))
}

/** A port that nothing listens on. */
export const closedPort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
})

/** A visit did not get through. */
export class VisitFailed extends Data.TaggedError("VisitFailed")<{ readonly code: string | undefined }> {}

/** Sends a text, finishes, and reads the reply until its end. */
export const visit = (port: number, text: string) =>
  Effect.callback<string, VisitFailed>((resume) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    let reply = ""
    socket.on("connect", () => socket.end(text))
    socket.on("data", (more) => {
      reply += more
    })
    socket.on("end", () => resume(Effect.succeed(reply)))
    socket.on("error", ({ code }: NodeJS.ErrnoException) => resume(new VisitFailed({ code })))
    return Effect.sync(() => void socket.destroy())
  })

/** Connects, says something, and resets the connection after some milliseconds. */
export const giveUp = (port: number, afterMillis: number) =>
  Effect.callback<void>((resume) => {
    const socket = connect({ port, host: "127.0.0.1" })
    socket.on("error", () => {})
    socket.on("close", () => resume(Effect.void))
    socket.on("connect", () => {
      socket.write("hello")
      setTimeout(() => socket.resetAndDestroy(), afterMillis)
    })
  })
