/** The command line as its users have it: real processes, the example configurations, real sockets. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { type AddressInfo, connect, createServer } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Redacted, Schedule } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { folder } from "../config/golden.ts"
import { startProcess, TookTooLong } from "./Process.ts"

const EXAMPLES = join(import.meta.dirname, "..", "..", "config")
const example = (name: string) => readFileSync(join(EXAMPLES, name), "utf8")

/** A UDP port that is free, and stays taken while the Scope is open when `hold`. */
const udpPort = (hold: boolean) =>
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

const tcpPort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
})

/** A service that answers only after its visitor has finished: with the same text, in capitals. */
const service = Effect.acquireRelease(
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
const visit = (port: number, text: string) =>
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
const works = (port: number, logs: () => string) =>
  Effect.gen(function* () {
    const started = performance.now()
    const attempt = visit(port, "hello").pipe(
      Effect.filterOrFail(
        (reply) => reply === "HELLO",
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
const stage = Effect.gen(function* () {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost"])
  const ports = { server: yield* udpPort(false), service: yield* service, source: yield* tcpPort }
  const own = (name: string) =>
    example(name)
      .replaceAll("19190", String(ports.server))
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

describe("processes", () => {
  it.live(
    "the example configurations carry a connection, also after each of them was killed",
    () =>
      Effect.gen(function* () {
        const { path, ports } = yield* stage
        const start = {
          server: startProcess(["server", "--config", "server.toml"], path),
          destination: startProcess(["--config", "destination.toml"], path),
          source: startProcess(["--config", "source.toml"], path)
        }
        const running = {
          server: yield* start.server,
          destination: yield* start.destination,
          source: yield* start.source
        }
        const logs = () =>
          Object.entries(running)
            .map(([name, { log }]) => `--- ${name}\n${log()}`)
            .join("\n")
        const times: Record<string, number> = { start: yield* works(ports.source, logs) }
        for (const name of ["server", "destination", "source"] as const) {
          yield* running[name].stop("SIGKILL")
          running[name] = yield* start[name]
          times[`${name} killed`] = yield* works(ports.source, logs)
          // The server's death is noticed later than the tunnel needs to work; it must also work from then on.
          if (name === "server") yield* running.server.says("endpoint.announced")
        }
        for (const name of ["source", "destination", "server"] as const) {
          const { code, millis } = yield* running[name].stop(name === "source" ? "SIGINT" : "SIGTERM")
          assert.strictEqual(code, 0, `${name}\n${logs()}`)
          assert.isBelow(millis, 2_000, name)
        }
        const shown = Object.entries(times).map(([what, millis]) => `${what} ${Math.round(millis)} ms`)
        process.stdout.write(`until the tunnel works: ${shown.join(", ")}\n`)
      }),
    150_000
  )

  it.live(
    "a client whose token is refused ends with code 1 and says so",
    () =>
      Effect.gen(function* () {
        const { path } = yield* stage
        yield* startProcess(["server", "--config", "server.toml"], path)
        const client = yield* startProcess(["--config", "source.toml", "--token", "wrong"], path)
        assert.strictEqual(yield* client.ended, 1, client.log())
        assert.match(client.log(), /^connet: .*token.*\n$/m)
      }),
    40_000
  )

  it.live(
    "a client waits for a server that is not there, says so, and meets it when it comes",
    () =>
      Effect.gen(function* () {
        const { path } = yield* stage
        const client = yield* startProcess(["--config", "source.toml"], path)
        yield* client.says(" warn ")
        const server = yield* startProcess(["server", "--config", "server.toml"], path)
        yield* server.says("client.online")
        assert.strictEqual((yield* client.stop("SIGTERM")).code, 0, client.log())
      }),
    40_000
  )

  it.live(
    "a port that is taken ends the server with code 1 and one sentence",
    () =>
      Effect.gen(function* () {
        const { path } = yield* stage
        const taken = yield* udpPort(true)
        const server = yield* startProcess(["server", "--config", "server.toml", "--addr", `127.0.0.1:${taken}`], path)
        assert.strictEqual(yield* server.ended, 1)
        assert.match(server.log(), /^connet: cannot listen on 127\.0\.0\.1:\d+.*address in use.*server\.ingress.*\n$/m)
      }),
    40_000
  )
})
