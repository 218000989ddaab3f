/** Tunnels of real processes through a relay: every encryption, many users, and the death of each process. */
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Redacted, Scope } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { folder } from "../config/golden.ts"
import { full } from "../full.ts"
import { type Process, startProcess } from "./Process.ts"
import { freePort, works } from "./Tunnel.ts"
import { chunk, echoService, MIB, read, timed, usersOf } from "./Users.ts"

const SCHEMES = ["none", "tls", "dhxcp"] as const
const BULK = full(64, 2) * MIB
const CONNECTIONS = full(300, 50)
const IDLE = full(1_000, 300)
const UNREAD = full(16, 4)
const CLOSED = full(30, 10)

/** Configurations of all roles: an endpoint for each encryption through the relay, and one that is direct. */
const makeStage = Effect.fnUntraced(function* (servicePort: number) {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost"])
  const [clients, relays, relay] = [yield* freePort, yield* freePort, yield* freePort]
  const ports = { none: yield* freePort, tls: yield* freePort, dhxcp: yield* freePort, direct: yield* freePort }
  const certificate = 'cert-file = "server.crt"\nkey-file = "server.key"\n'
  const relayIngress = `addr = "127.0.0.1:${relay}"\n`
  const client = (kind: "destinations" | "sources", url: (name: keyof typeof ports) => string) =>
    [
      `[client]\ntoken = "t"\nserver-addr = "localhost:${clients}"\nserver-cas-file = "ca.crt"\ndirect-addr = ":0"\n`,
      ...SCHEMES.map(
        (scheme) =>
          `[client.${kind}.${scheme}]\nurl = "${url(scheme)}"\nroute = "relay"\nrelay-encryptions = ["${scheme}"]\n`
      ),
      `[client.${kind}.direct]\nurl = "${url("direct")}"\nroute = "direct"\n`
    ].join("\n")
  const path = yield* folder({
    "ca.crt": authority.certificatePem,
    "server.crt": identity.certificatePem,
    "server.key": Redacted.value(identity.privateKeyPem),
    "server.toml": [
      `[server]\ntokens = ["t"]\nstore-dir = "server-state"\n[[server.ingress]]\naddr = ":${clients}"\n${certificate}`,
      `[[server.relay-ingress]]\n${relayIngress}`
    ].join("\n"),
    "control.toml": [
      '[control]\nclients-tokens = ["t"]\nrelays-tokens = ["r"]\nstore-dir = "control-state"\n',
      `[[control.clients-ingress]]\naddr = ":${clients}"\n${certificate}`,
      `[[control.relays-ingress]]\naddr = ":${relays}"\n${certificate}`
    ].join("\n"),
    "relay.toml": [
      `[relay]\ntoken = "r"\ncontrol-addr = "localhost:${relays}"\ncontrol-cas-file = "ca.crt"\nstore-dir = "relay-state"\n`,
      `[[relay.ingress]]\n${relayIngress}`
    ].join("\n"),
    "destination.toml": client("destinations", () => `tcp://127.0.0.1:${servicePort}`),
    "source.toml": client("sources", (name) => `tcp://127.0.0.1:${ports[name]}`)
  })
  return { path, ports }
})

/** Processes by name, each started again under the same one. */
const startAll = Effect.fnUntraced(function* (path: string, roles: Readonly<Record<string, ReadonlyArray<string>>>) {
  const running: Record<string, Process> = {}
  const start = Effect.fnUntraced(function* (name: string) {
    running[name] = yield* startProcess([...roles[name]!, "--config", `${name}.toml`], path)
  })
  yield* Effect.forEach(Object.keys(roles), start, { discard: true })
  return {
    running,
    restart: Effect.fnUntraced(function* (name: string) {
      yield* running[name]!.stop("SIGKILL")
      yield* start(name)
    }),
    logs: () =>
      Object.entries(running)
        .map(([name, { log }]) => `--- ${name}\n${log()}`)
        .join("\n")
  }
})

/** A running deployment, and what every one of them must carry. */
const deployment = (servers: Readonly<Record<string, ReadonlyArray<string>>>) => {
  const scope = Scope.makeUnsafe()
  let stage: Effect.Success<ReturnType<typeof makeStage>>
  let processes: Effect.Success<ReturnType<typeof startAll>>
  const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) =>
    Effect.runPromise(Effect.provideService(effect, Scope.Scope, scope))
  const users = {
    none: usersOf(() => stage.ports.none),
    tls: usersOf(() => stage.ports.tls),
    dhxcp: usersOf(() => stage.ports.dhxcp),
    direct: usersOf(() => stage.ports.direct)
  }
  const reach = (name: keyof typeof users) => run(works(stage.ports[name], processes.logs, "echo\nhello", "hello"))

  beforeAll(async () => {
    stage = await run(Effect.flatMap(echoService, (server) => makeStage((server.address() as AddressInfo).port)))
    processes = await run(startAll(stage.path, { ...servers, destination: [], source: [] }))
    for (const name of [...SCHEMES, "direct"] as const) await reach(name)
  }, 60_000)

  afterAll(async () => {
    for (const { leave } of Object.values(users)) leave()
    await Effect.runPromise(Scope.close(scope, Exit.void))
  }, 20_000)

  for (const [name, { roundTrip, echo }] of Object.entries(users)) {
    it(`${name}: carries ${BULK / MIB} MiB both ways with half-close, and ${CONNECTIONS} connections at once`, async () => {
      assert.isTrue(await roundTrip(BULK))
      await Promise.all(Array.from({ length: CONNECTIONS }, () => echo(chunk.subarray(0, 8_192))))
    }, 120_000)
  }

  /** Kills a process and starts it again: the relay works again, and a direct stream has not noticed. */
  const survives = (name: string) =>
    it(`kill -9 of the ${name}: direct streams go on, and the relay works again after its restart`, async () => {
      const open = users.direct.user("echo")
      await users.direct.ping(open)
      await run(processes.restart(name))
      const times: Array<string> = []
      for (const scheme of ["tls", "dhxcp"] as const) {
        times.push(`${scheme} ${Math.round(await timed(() => reach(scheme)))} ms`)
      }
      await users.direct.ping(open)
      process.stdout.write(`relay: after the ${name} was killed and started again: ${times.join(", ")}\n`)
    }, 60_000)

  return { users, survives }
}

describe("tunnels through the relay of a server", () => {
  const { users, survives } = deployment({ server: ["server"] })

  it(`${IDLE} idle connections work, and ${UNREAD} downloads that nobody reads leave the others alone`, async () => {
    const { user, ping, fetch } = users.tls
    const idle = Array.from({ length: IDLE }, () => user("echo"))
    await Promise.all(idle.map(ping))
    const unread = Array.from({ length: UNREAD }, () => user(`download ${256 * MIB}`))
    await Promise.all(unread.map((socket) => new Promise((resolve) => socket.once("readable", resolve))))
    // They first fill every buffer on the way; were they in the way, it would never end.
    await fetch(BULK)
    await Promise.all(idle.map(ping))
    for (const socket of [...idle, ...unread]) socket.destroy()
  }, 60_000)

  it(`${CLOSED} downloads closed in the middle are each followed by a connection that works at once`, async () => {
    const { user, echo } = users.tls
    const waits: Array<number> = []
    for (let round = 0; round < CLOSED; round++) {
      const socket = user(`download ${64 * MIB}`)
      await read(socket, MIB / 2)
      socket.destroy()
      waits.push(await timed(() => echo(Buffer.from("next"))))
    }
    process.stdout.write(`relay: after a closed download at most ${Math.round(Math.max(...waits))} ms\n`)
    assert.isBelow(Math.max(...waits), 5_000)
  }, 60_000)

  survives("server")
})

describe("servers on one machine", () => {
  it.live(
    "do not get in each other's way: two of them, each with its relay",
    () =>
      Effect.gen(function* () {
        const stages = [yield* makeStage(1), yield* makeStage(1)]
        for (const { path } of stages) {
          const server = yield* startProcess(["server", "--config", "server.toml"], path)
          yield* server.says("control.online")
          yield* server.says("relay.listening")
        }
      }),
    60_000
  )
})

describe("tunnels through a relay of its own", () => {
  const { survives } = deployment({ control: ["control"], relay: ["relay"] })

  survives("relay")
  survives("control")
})
