/** Server, destination and source on hosts of their own: directly where they may, through the relay where they may not. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { makeAuthority } from "../../src/certs/Authority.ts"
import { type Process, startProcess } from "../cli/Process.ts"
import { folder } from "../config/golden.ts"
import { makeLab, ownNamespaces } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { startEcho, visitFrom } from "./scripts.ts"

const SERVICE_PORT = 7
const SOURCE_PORT = 8_080

/** A lab, and what starts the roles on its hosts: the destination is left, the source right. */
const stage = Effect.gen(function* () {
  const { server, left, right } = yield* makeLab(["server", "left", "right"])
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer([server.address])
  const client = [
    `[client]\ntoken = "t"\nserver-addr = "${server.address}:19190"\nserver-cas-file = "ca.crt"\ndirect-addr = ":0"`
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
    "destination.toml": [...client, `[client.destinations.echo]\nurl = "tcp://127.0.0.1:${SERVICE_PORT}"`].join("\n"),
    "source.toml": [...client, `[client.sources.echo]\nurl = "tcp://127.0.0.1:${SOURCE_PORT}"`].join("\n")
  })
  yield* startEcho(left, SERVICE_PORT)
  return {
    server,
    left,
    right,
    /** Starts all roles: the source. */
    start: Effect.gen(function* () {
      yield* startProcess(["server", "--config", "server.toml"], path, server.inside)
      yield* startProcess(["--config", "destination.toml"], path, left.inside)
      return yield* startProcess(["--config", "source.toml"], path, right.inside)
    }),
    /** A user of the source sends a text and gets it back: how many milliseconds that took. */
    visit: Effect.fnUntraced(function* (text: string, source: Process) {
      const { reply, failed, millis } = yield* visitFrom(right, { address: "127.0.0.1", port: SOURCE_PORT, text })
      assert.strictEqual(reply, `${text}\n`, `${failed}\n${source.log()}`)
      return millis
    })
  }
})

const lacking = lacks("tunnels in labs", { programs: ["ip", "nft"], root: true })

describe.skipIf(lacking)("clients on hosts of their own", () => {
  afterAll(() => {
    assert.deepStrictEqual(ownNamespaces(), [])
  })

  it.live(
    "meet directly, both listening on a wildcard address",
    () =>
      Effect.gen(function* () {
        const { left, start, visit } = yield* stage
        const source = yield* start
        yield* source.says(new RegExp(`path\\.open .*direction=(incoming|outgoing) .*address=${left.address}:`))
        const millis = yield* visit("directly", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${left.address}:\\d+ direction=(incoming|outgoing)`))
        process.stdout.write(`lab: the first byte came after ${Math.round(millis)} ms, directly\n`)
      }),
    60_000
  )

  it.live(
    "go through the relay while a firewall drops UDP between them, and directly when it does not any more",
    () =>
      Effect.gen(function* () {
        const { server, left, right, start, visit } = yield* stage
        yield* left.blockUdp(right.address)
        const source = yield* start
        yield* source.says("peer.met")
        const millis = yield* visit("around", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${server.address}:\\d+ direction=relay`))
        assert.notInclude(source.log(), "path.open")
        process.stdout.write(`lab: the first byte came after ${Math.round(millis)} ms, through the relay\n`)

        yield* left.unblockUdp
        yield* source.says("path.open")
        yield* visit("directly", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${left.address}:\\d+ direction=(incoming|outgoing)`))
      }),
    60_000
  )
})
