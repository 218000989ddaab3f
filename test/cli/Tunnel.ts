/** The three processes of a tunnel, as the example configurations set them up, and how a user sees them. */
import { createSocket } from "node:dgram"
import { type EventEmitter, once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { join } from "node:path"
import { Data, Effect, Redacted, Schedule } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { folder } from "../config/golden.ts"
import { TookTooLong } from "./Process.ts"

const EXAMPLES = join(import.meta.dirname, "..", "..", "config")
/** The text of one of the example configurations. */
export const example = (name: string) => readFileSync(join(EXAMPLES, name), "utf8")

/** A UDP port that is taken while the Scope is open. */
export const takenPort = Effect.acquireRelease(
  Effect.promise(async () => {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    await once(socket, "listening")
    return socket
  }),
  (socket) => Effect.sync(() => socket.close())
).pipe(Effect.map((socket) => socket.address().port))

/**
 * Below those that the system gives to outgoing connections, of which one could take it in the meantime. A port is looked for
 * now and taken later: so each worker of a run has some of its own, and goes through them in turn.
 */
const PORTS = 1_500
const FIRST_PORT = 20_000 + PORTS * (Number(process.env.VITEST_POOL_ID ?? 0) % 8)
let turn = Math.floor(Math.random() * PORTS)

/** A port that is free, for UDP and for TCP, on every address. */
export const freePort = Effect.promise(async () => {
  while (true) {
    const port = FIRST_PORT + (turn++ % PORTS)
    const udp = createSocket("udp6")
    const tcp = createServer()
    const listening = await Promise.all([
      bound(udp, () => udp.bind(port, "::")),
      bound(tcp, () => tcp.listen(port, "::"))
    ])
    udp.close()
    if (tcp.listening) await new Promise((resolve) => tcp.close(resolve))
    if (!listening.includes(false)) return port
  }
})

const bound = (socket: EventEmitter, bind: () => unknown): Promise<boolean> =>
  new Promise((resolve) => {
    socket.once("listening", () => resolve(true)).once("error", () => resolve(false))
    bind()
  })

/** A service that answers only after its visitor has finished. */
export const answering = (answer: (text: string) => string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        let text = ""
        socket.setEncoding("utf8")
        socket.on("data", (more) => {
          text += more
        })
        socket.on("end", () => socket.end(answer(text)))
        socket.on("error", () => {})
      })
      server.listen(0, "127.0.0.1")
      await once(server, "listening")
      return server
    }),
    (server) => Effect.sync(() => void server.close())
  ).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

/** It answers with the same text, in capitals. */
export const service = answering((text) => text.toUpperCase())

/** A visitor did not get through the tunnel and back. */
class VisitFailed extends Data.TaggedError("VisitFailed")<{ readonly detail: string }> {}

/** Sends a text, finishes, and reads the reply until its end. */
export const visit = (port: number, text: string) =>
  Effect.callback<string, VisitFailed>((resume) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    let reply = ""
    socket.setEncoding("utf8")
    socket.on("connect", () => socket.end(text))
    socket.on("data", (more) => {
      reply += more
    })
    socket.on("end", () => resume(Effect.succeed(reply)))
    socket.on("error", (error) => resume(new VisitFailed({ detail: error.message })))
    return Effect.sync(() => void socket.destroy())
  })

/** Visits until it works, and tells how long that took. */
export const works = (port: number, logs: () => string, said = "hello", expected = "HELLO") =>
  Effect.gen(function* () {
    const started = performance.now()
    const attempt = visit(port, said).pipe(
      Effect.filterOrFail(
        (reply) => reply === expected,
        (reply) => new VisitFailed({ detail: `the reply is "${reply}"` })
      ),
      Effect.timeout("2 seconds")
    )
    yield* attempt.pipe(
      Effect.retry(Schedule.spaced("50 millis")),
      Effect.timeoutOrElse({
        duration: "40 seconds",
        orElse: () => new TookTooLong({ detail: `no visit worked within 40 s\n${logs()}` })
      })
    )
    return performance.now() - started
  })

/** The three example configurations, with ports of this test in place of theirs. */
export const stageFor = Effect.fnUntraced(function* (servicePort: number) {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost"])
  const [server, relay, relays, source] = [yield* freePort, yield* freePort, yield* freePort, yield* freePort]
  const ports = { server, relay, relays, service: servicePort, source }
  const own = (name: string) =>
    example(name)
      .replaceAll("19190", String(ports.server))
      .replaceAll("19191", String(ports.relay))
      .replaceAll("19189", String(ports.relays))
      .replaceAll("8080", String(ports.service))
      .replaceAll("9090", String(ports.source))
  const path = yield* folder({
    "server.crt": identity.certificatePem + authority.certificatePem,
    "server.key": Redacted.value(identity.privateKeyPem),
    "server.toml": own("server.toml"),
    "destination.toml": own("destination.toml"),
    "source.toml": own("source.toml")
  })
  /** For roles that are started without a file. */
  const certificate = ["--cert-file", "server.crt", "--key-file", "server.key"]
  return { path, ports, own, certificate }
})

/** The same, with the service that answers in capitals. */
export const stage = Effect.flatMap(service, stageFor)
