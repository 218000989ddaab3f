/** Roles as their commands run them, but in this process: from their TOML to what they do, with the events that they log. */
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { join } from "node:path"
import { Cause, ConfigProvider, Effect, Exit, Fiber, Logger, Redacted, References, Result, Schedule } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { clientRole } from "../../src/cli/client.ts"
import { controlRole } from "../../src/cli/control.ts"
import type { Role } from "../../src/cli/Role.ts"
import { relayRole } from "../../src/cli/relay.ts"
import { serverRole } from "../../src/cli/server.ts"
import type { RoleName } from "../../src/config/ConfigTables.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { folder } from "../config/golden.ts"
import { type Event, TookTooLong } from "../endpoint/World.ts"
import { ask } from "../status/ask.ts"
import { freePort } from "./Tunnel.ts"

export interface RunningRole {
  readonly events: ReadonlyArray<Event>
  /** Waits for an event that has these fields, one that was logged before as well. */
  readonly says: (message: string, fields?: Readonly<Record<string, unknown>>) => Effect.Effect<Event, TookTooLong>
  /** What is logged of an event so far. */
  readonly said: (message: string) => ReadonlyArray<Event>
  /** Waits until it ends by itself: why it did. */
  readonly failure: Effect.Effect<string, TookTooLong>
  readonly stop: Effect.Effect<void>
}

const ROLES: Readonly<Record<RoleName, Role<unknown>>> = {
  client: clientRole,
  server: serverRole,
  control: controlRole,
  relay: relayRole
}

const told = ({ message, detail, fields }: Event) => `${message} ${detail ?? ""} ${JSON.stringify(fields)}`

/** Looks until it is so, for some seconds; a test that waits for more than that has failed. */
export const until = <A, E, R>(look: Effect.Effect<A, E, R>, holds: (value: A) => boolean, what: () => string) =>
  look.pipe(
    Effect.filterOrFail(holds),
    Effect.retry(Schedule.spaced("10 millis")),
    Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => new TookTooLong({ detail: what() }) }),
    Effect.mapError((error) => (error instanceof TookTooLong ? error : new TookTooLong({ detail: what() })))
  )

/** The environment of somebody who keeps everything in a folder. */
export const homeIn = (path: string) => ConfigProvider.fromUnknown({ CONNET_CACHE_DIR: path, XDG_STATE_HOME: path })

/** Runs a role with these texts of TOML, of which the last one wins, while the Scope is open. */
export const startRole = Effect.fnUntraced(function* (name: RoleName, tomls: ReadonlyArray<string>, path: string) {
  const events: Array<Event> = []
  const logger = Logger.make<unknown, void>(({ message, fiber }) => {
    const [first, detail] = Array.isArray(message) ? message : [message]
    events.push({ message: String(first), detail, fields: fiber.getRef(References.CurrentLogAnnotations) })
  })
  const sources = tomls.map((toml) =>
    Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(reasons.map(String).join("\n")))
  )
  const fiber = yield* ROLES[name]
    .prepare(sources)
    .pipe(
      Effect.flatten,
      Effect.provide(Logger.layer([logger])),
      Effect.provideService(References.MinimumLogLevel, "Debug"),
      Effect.provideService(ConfigProvider.ConfigProvider, homeIn(path)),
      Effect.forkScoped
    )
  const log = () => `${name}:\n${events.map(told).join("\n")}\n${JSON.stringify(fiber.pollUnsafe() ?? "runs")}`
  const matching = (message: string, fields: Readonly<Record<string, unknown>>) =>
    events.find(
      (event) =>
        event.message === message && Object.entries(fields).every(([key, value]) => event.fields[key] === value)
    )
  return {
    events,
    said: (message) => events.filter((event) => event.message === message),
    says: (message, fields = {}) =>
      until(
        Effect.sync(() => matching(message, fields)),
        (event) => event !== undefined,
        () => `no ${message} ${JSON.stringify(fields)} of ${log()}`
      ).pipe(Effect.map((event) => event!)),
    failure: until(
      Effect.sync(() => fiber.pollUnsafe()),
      (exit) => exit !== undefined,
      () => `no end of ${log()}`
    ).pipe(Effect.map((exit) => (Exit.isFailure(exit!) ? Cause.pretty(exit.cause) : "success"))),
    stop: Fiber.interrupt(fiber)
  } satisfies RunningRole
})

/** How the tables and keys of a server, and those of a control server with a relay of its own, are called. */
export const DEPLOYMENTS = [
  {
    kind: "server",
    table: "server",
    clients: "",
    ingress: "server.ingress",
    restriction: "server.token-restriction",
    relayTable: "server",
    relayIngress: "server.relay-ingress",
    limits: "server.relay-limits"
  },
  {
    kind: "control",
    table: "control",
    clients: "clients-",
    ingress: "control.clients-ingress",
    restriction: "control.clients-token-restriction",
    relayTable: "relay",
    relayIngress: "relay.ingress",
    limits: "relay.limits"
  }
] as const

export type Deployment = (typeof DEPLOYMENTS)[number]

/** Everything that a client meets, on this machine; `toml` may have the tables of all its roles. `./` is a folder. */
export const deploy = Effect.fnUntraced(function* (
  { kind }: Pick<Deployment, "kind">,
  toml = "",
  files: Readonly<Record<string, string>> = {}
) {
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost"])
  const path = yield* folder({
    "ca.crt": authority.certificatePem,
    "server.crt": identity.certificatePem,
    "server.key": Redacted.value(identity.privateKeyPem),
    ...files
  })
  const ports = { server: yield* freePort, relay: yield* freePort, relays: yield* freePort }
  const pair = 'cert-file = "./server.crt"\nkey-file = "./server.key"\n'
  const relayAddress = `addr = "127.0.0.1:${ports.relay}"\n`
  const base = [
    `[server]\ntokens = ["t"]\n[[server.ingress]]\naddr = "127.0.0.1:${ports.server}"\n${pair}`,
    `[[server.relay-ingress]]\n${relayAddress}`,
    '[control]\nclients-tokens = ["t"]\nrelays-tokens = ["r"]',
    `[[control.clients-ingress]]\naddr = "127.0.0.1:${ports.server}"\n${pair}`,
    `[[control.relays-ingress]]\naddr = "127.0.0.1:${ports.relays}"\n${pair}`,
    `[relay]\ntoken = "r"\ncontrol-addr = "localhost:${ports.relays}"\ncontrol-cas-file = "./ca.crt"\nproxy = "none"`,
    `[[relay.ingress]]\n${relayAddress}`,
    `[client]\ntoken = "t"\nserver-addr = "localhost:${ports.server}"\nserver-cas-file = "./ca.crt"`,
    'direct-addr = "127.0.0.1:0"\nnat-pmp = "disabled"\nproxy = "none"'
  ].join("\n")
  const inFolder = (text: string) => text.replaceAll("./", `${path}/`)
  const start = (name: RoleName, own: string) => startRole(name, [base, toml, own].map(inFolder), path)

  const [control, relay] =
    kind === "server"
      ? yield* Effect.map(start("server", ""), (server) => [server, server] as const)
      : [yield* start("control", ""), yield* start("relay", "")]
  return {
    path,
    ports,
    authority,
    control,
    relay,
    /** Starts one of its roles, once more or with other settings. */
    start,
    /** A client with these settings beside those that let it in. */
    client: (own: string) => start("client", own),
    write: (name: string, text: string) => writeFileSync(join(path, name), text)
  }
})

/** What a role tells whoever asks for its status. */
export const statusOf = Effect.fnUntraced(function* ({ says }: RunningRole) {
  const { fields } = yield* says("status.listening")
  return yield* ask({ host: "127.0.0.1", port: Number(String(fields.address).split(":").at(-1)) })
})

/** Where the source of an endpoint listens. */
export const portOf = (client: RunningRole, endpoint: string) =>
  Effect.map(client.says("source.listening", { endpoint }), ({ fields }) =>
    Number(String(fields.address).split(":").at(-1))
  )

/** What a user hears until the end when he sends a text and finishes; nothing when the connection is cut. */
export const visit = (port: number, text = "") =>
  Effect.callback<string>((resume) => {
    let heard = ""
    const user = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
    user.on("data", (part) => {
      heard += part
    })
    user.on("error", () => resume(Effect.succeed("")))
    user.on("end", () => resume(Effect.succeed(heard)))
    user.end(text)
    return Effect.sync(() => void user.destroy())
  })

/** Visits until there is an answer: who is online may not be reachable yet. */
export const reached = (port: number, text = "") =>
  until(
    visit(port, text),
    (heard) => heard !== "",
    () => `nobody answers at port ${port}`
  )

/** A user who has heard something and stays; destroyed with the Scope. */
export const staying = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const user = connect({ port, host: "127.0.0.1" }).on("error", () => {})
      await once(user, "connect")
      user.write("x")
      await once(user, "data")
      return user
    }),
    (user: Socket) => Effect.sync(() => user.destroy())
  )
