/** The example configurations that no other test starts, as real processes: each tunnel of theirs carries a connection. */
import { X509Certificate } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule } from "effect"
import { undocumentedIn } from "../docs/documents.ts"
import { type Process, startProcess } from "./Process.ts"
import { answering, freePort, stage, visit, works } from "./Tunnel.ts"

/** A stage with further examples in its folder, and a way to start several roles at once, each with its arguments. */
const stageWith = Effect.fnUntraced(function* (...names: ReadonlyArray<string>) {
  const staged = yield* stage
  for (const name of names) writeFileSync(join(staged.path, name), staged.own(name))
  const start = (...roles: ReadonlyArray<ReadonlyArray<string>>) =>
    Effect.forEach(roles, (args) => startProcess(args, staged.path), { concurrency: "unbounded" })
  return { ...staged, start }
})

const logsOf = (processes: ReadonlyArray<Process>) => () => processes.map(({ log }) => log()).join("\n---\n")

/** What these processes have logged is in the list of events. */
const isDocumented = (processes: ReadonlyArray<Process>) => assert.deepEqual(undocumentedIn(logsOf(processes)()), [])

describe("the example configurations", () => {
  it.live(
    "in parts, with a server and a relay apart, carry a connection",
    () =>
      Effect.gen(function* () {
        const { ports, start } = yield* stageWith(
          ...["control.toml", "relay.toml", "base.toml", "destination-part.toml", "source-part.toml"]
        )
        const processes = yield* start(
          ["control", "--config", "control.toml"],
          ["relay", "--config", "relay.toml"],
          ["--config", "base.toml", "--config", "destination-part.toml"],
          ["--config", "base.toml", "--config", "source-part.toml", "--src-name", "web", "--src-route", "relay"]
        )
        yield* works(ports.source, logsOf(processes))
        const [control, , , source] = processes
        assert.match(control!.log(), /client\.online .* metadata="the office"/)
        assert.match(control!.log(), /client\.online .* metadata="a laptop"/)
        isDocumented(processes)
        assert.match(source!.log(), new RegExp(`relay\\.online .* address=\\S+:${ports.relay} `))
      }),
    60_000
  )

  it.live(
    "with rules and with routes carry a connection over each route, and let nobody else in",
    () =>
      Effect.gen(function* () {
        const { path, ports, own, start } = yield* stageWith("access.toml", "tokens", "routes-destination.toml")
        const [direct, relayed] = [yield* freePort, yield* freePort]
        const source = own("routes-source.toml").replace("9091", String(direct)).replace("9092", String(relayed))
        writeFileSync(join(path, "routes-source.toml"), source)
        const processes = yield* start(
          ["server", "--config", "access.toml"],
          ["--config", "routes-destination.toml"],
          ["--config", "routes-source.toml"],
          ["--config", "source.toml"]
        )
        const logs = logsOf(processes)
        for (const port of [ports.source, direct, relayed]) yield* works(port, logs)
        const [server, , users, stranger] = processes
        assert.match(users!.log(), /path\.selected endpoint=web-direct .*direction=(incoming|outgoing)/)
        assert.match(users!.log(), /path\.selected endpoint=web-relay .*direction=relay .*encryption=tls/)
        assert.match(server!.log(), /client\.online .* token=anna /)
        assert.strictEqual(yield* stranger!.ended, 1)
        isDocumented(processes)
      }),
    60_000
  )

  it.live(
    "by link and by certificate offer one service, and a source with a policy takes turns",
    () =>
      Effect.gen(function* () {
        const { path, ports, own, start } = yield* stageWith("balancing-destination.toml", "balancing-source.toml")
        const other = yield* answering(() => "other")
        const { fingerprint256 } = new X509Certificate(readFileSync(join(path, "server.crt")))
        const link = own("first-contact.toml").replace("0".repeat(64), fingerprint256)
        writeFileSync(join(path, "first-contact.toml"), link.replace(`:${ports.service}"`, `:${other}"`))
        const processes = yield* start(
          ["server", "--config", "server.toml"],
          ["--config", "balancing-destination.toml"],
          ["--config", "first-contact.toml"],
          ["--config", "balancing-source.toml"]
        )
        const turns = visit(ports.source, "hello").pipe(
          Effect.timeout("2 seconds"),
          Effect.replicateEffect(2),
          Effect.filterOrFail((replies) => new Set(replies).size === 2),
          Effect.retry(Schedule.spaced("50 millis").pipe(Schedule.upTo({ times: 200 }))),
          Effect.tapError(() => Effect.sync(() => process.stdout.write(logsOf(processes)())))
        )
        assert.sameMembers(yield* turns, ["HELLO", "other"])
        yield* processes[1]!.stop("SIGTERM")
        yield* processes[3]!.says("path.lost")
        isDocumented(processes)
      }),
    60_000
  )
})
