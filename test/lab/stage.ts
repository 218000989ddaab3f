/** Server, destination and source of connet, each on a host of its own in a lab. */
import { assert } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { type Process, startProcess } from "../cli/Process.ts"
import { folder } from "../config/golden.ts"
import { makeLab } from "./Lab.ts"
import { startEcho, visitFrom } from "./scripts.ts"

/** Where the source listens. */
export const SOURCE_PORT = 8_080
const ECHO_PORT = 7

export interface StageOptions {
  /** More settings of both clients, as lines of TOML. */
  readonly client?: string
  /** More settings of the source's client. */
  readonly source?: string
  /** More settings of both ends. */
  readonly endpoint?: string
  /** How the destination finds the router that shall forward its port. */
  readonly natPmp?: "system" | "dial" | "disabled"
  /** Where the service listens on the left; an echo by default, which is started. */
  readonly servicePort?: number
}

/** A lab with one more host, and what starts the roles on the others: the destination is left, the source right. */
export const makeStage = Effect.fnUntraced(function* (options: StageOptions = {}) {
  const { client: clientSettings = "", source: sourceSettings = "", endpoint = "", servicePort = ECHO_PORT } = options
  const { server, left, right, middle } = yield* makeLab(["server", "left", "right", "middle"])
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer([server.address])
  const client = [
    `[client]\ntoken = "t"\nserver-addr = "${server.address}:19190"\nserver-cas-file = "ca.crt"\ndirect-addr = ":0"`,
    clientSettings
  ]
  const path = yield* folder({
    "ca.crt": authority.certificatePem,
    "server.crt": identity.certificatePem,
    "server.key": Redacted.value(identity.privateKeyPem),
    "server.toml": [
      '[server]\ntokens = ["t"]',
      '[[server.ingress]]\naddr = ":19190"\ncert-file = "server.crt"\nkey-file = "server.key"',
      `[[server.relay-ingress]]\naddr = ":19191"\nhostports = ["${server.address}:19191"]`
    ].join("\n"),
    "destination.toml": [
      ...client,
      `[client.destinations.echo]\nurl = "tcp://127.0.0.1:${servicePort}"`,
      endpoint
    ].join("\n"),
    "source.toml": [
      ...client,
      sourceSettings,
      `[client.sources.echo]\nurl = "tcp://127.0.0.1:${SOURCE_PORT}"`,
      endpoint
    ].join("\n")
  })
  if (options.servicePort === undefined) yield* startEcho(left, ECHO_PORT)
  const startSource = (...environment: ReadonlyArray<string>) =>
    startProcess(["--config", "source.toml"], path, [...right.inside, "env", ...environment])
  const startOthers = Effect.gen(function* () {
    const control = yield* startProcess(["server", "--config", "server.toml"], path, server.inside)
    const destination = yield* startProcess(
      ["--config", "destination.toml", "--nat-pmp", options.natPmp ?? "disabled"],
      path,
      left.inside
    )
    return { control, destination }
  })
  return {
    server,
    left,
    right,
    middle,
    startOthers,
    startSource,
    /** Starts all roles: the source. */
    start: Effect.andThen(startOthers, startSource()),
    /** A user of the source sends a text and gets it back: how many milliseconds that took. */
    visit: Effect.fnUntraced(function* (text: string, source: Process) {
      const { reply, failed, millis } = yield* visitFrom(right, { address: "127.0.0.1", port: SOURCE_PORT, text })
      assert.strictEqual(reply, `${text}\n`, `${failed}\n${source.log()}`)
      return millis
    })
  }
})
