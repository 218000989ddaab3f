/** The command line as its users have it: real processes, the example configurations, real sockets. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Schema } from "effect"
import { ClientStatus } from "../../src/status/ClientStatus.ts"
import { ServerStatus } from "../../src/status/ServerStatus.ts"
import { ask, decoded } from "../status/ask.ts"
import { type Process, startProcess } from "./Process.ts"
import { stage, takenPort, works } from "./Tunnel.ts"

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
          // Two seconds by its own clock; a busy machine takes a while to start and end it.
          assert.isBelow(millis, 3_500, `${name}\n${logs()}`)
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
    80_000
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
    80_000
  )

  it.live(
    "each tells its status over HTTP: the server and its relay, a destination, a source with its peers and paths",
    () =>
      Effect.gen(function* () {
        const { path, ports } = yield* stage
        const roles = { server: ["server"], destination: [], source: [] }
        const [server, destination, source] = yield* Effect.forEach(
          ["server", "destination", "source"] as const,
          (name) => startProcess([...roles[name], "--config", `${name}.toml`, "--status-addr", "127.0.0.1:0"], path)
        )
        const status = Effect.fnUntraced(function* <A>(schema: Schema.Codec<A>, role: Process | undefined) {
          const listening = /status\.listening address=127\.0\.0\.1:(\d+)/
          yield* role!.says(listening)
          const answer = yield* ask({ host: "127.0.0.1", port: Number(listening.exec(role!.log())![1]) })
          assert.notInclude(answer.text, "replace-this-token")
          return yield* decoded(schema, answer)
        })
        yield* works(ports.source, () => source!.log())
        const ofServer = yield* status(ServerStatus, server)
        const [{ id } = { id: "" }] = Object.values(ofServer.control.endpoints).flatMap((all) => all.destinations)
        assert.lengthOf(Object.keys(ofServer.control.clients), 2)
        const ofDestination = yield* status(ClientStatus, destination)
        const ofSource = yield* status(ClientStatus, source)
        assert.deepStrictEqual([ofDestination.status, ofSource.status], ["connected", "connected"])
        const [used] = Object.values(ofSource.sources)
        assert.deepStrictEqual(Object.keys(used!.peers), [id])
        assert.isNotEmpty(used!.peers[id]!.connections)
        assert.strictEqual((yield* source!.stop("SIGTERM")).code, 0, source!.log())
      }),
    80_000
  )

  it.live(
    "a port that is taken ends the server with code 1 and one sentence",
    () =>
      Effect.gen(function* () {
        const { path } = yield* stage
        const taken = yield* takenPort
        const server = yield* startProcess(["server", "--config", "server.toml", "--addr", `127.0.0.1:${taken}`], path)
        assert.strictEqual(yield* server.ended, 1)
        assert.match(server.log(), /^connet: cannot listen on 127\.0\.0\.1:\d+.*address in use.*server\.ingress.*\n$/m)
      }),
    80_000
  )
})
