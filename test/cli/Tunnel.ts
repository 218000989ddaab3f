/** The three processes of a tunnel, as the example configurations set them up, and how a user sees them. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { join } from "node:path"
import { Data, Effect, Redacted, Schedule } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { folder } from "../config/golden.ts"
import { TookTooLong } from "./Process.ts"

const EXAMPLES = join(import.meta.dirname, "..", "..", "config")
const example = (name: string) => readFileSync(join(EXAMPLES, name), "utf8")

/** A UDP port that is free, and stays taken while the Scope is open when `hold`. */
export const udpPort = (hold: boolean) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const socket = createSocket("udp4").bind(0, "127.0.0.1")
      await once(socket, "listening")
      const { port } = socket.address()
      if (!hold) {
        socket.close()
        await once(socket, "close")
      }
      return { port, socket }
    }),
    ({ socket }) => Effect.sync(() => hold && socket.close())
  ).pipe(Effect.map(({ port }) => port))

export const tcpPort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
})

/** A service that answers only after its visitor has finished: with the same text, in capitals. */
export const service = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      let text = ""
      socket.setEncoding("utf8")
      socket.on("data", (more) => {
        text += more
      })
      socket.on("end", () => socket.end(text.toUpperCase()))
      socket.on("error", () => {})
    })
    server.listen(0, "127.0.0.1")
    await once(server, "listening")
    return server
  }),
  (server) => Effect.sync(() => void server.close())
).pipe(Effect.map((server) => (server.address() as AddressInfo).port))

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
  const [server, relay, source] = [yield* udpPort(false), yield* udpPort(false), yield* tcpPort]
  const ports = { server, relay, service: servicePort, source }
  const own = (name: string) =>
    example(name)
      .replaceAll("19190", String(ports.server))
      .replaceAll("19191", String(ports.relay))
      .replaceAll("8080", String(ports.service))
      .replaceAll("9090", String(ports.source))
  const path = yield* folder({
    "server.crt": identity.certificatePem + authority.certificatePem,
    "server.key": Redacted.value(identity.privateKeyPem),
    "server.toml": own("server.toml"),
    "destination.toml": own("destination.toml"),
    "source.toml": own("source.toml")
  })
  return { path, ports, own }
})

/** The same, with the service that answers in capitals. */
export const stage = Effect.flatMap(service, stageFor)
