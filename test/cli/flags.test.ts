import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import {
  ConfigFlag,
  clientFlags,
  clientSource,
  controlFlags,
  controlSource,
  LogFormatFlag,
  LogLevelFlag,
  relayFlags,
  relaySource,
  serverFlags,
  serverSource
} from "../../src/cli/flags.ts"
import { logSource } from "../../src/cli/launch.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { OTHER_KEYS, STRICTER } from "../config/differences.ts"
import { checkError, expected } from "../config/expected.ts"
import { golden, type Role, runCase } from "../config/golden.ts"

/** The sources that a command line stands for, or the error of the parser. */
const parse = Effect.fnUntraced(function* (command: Role, args: ReadonlyArray<string>) {
  const sources: Array<ConfigSource> = []
  const add = Effect.fnUntraced(function* (source: ConfigSource) {
    sources.push(yield* logSource, source)
  })
  const root = Command.make("connet", clientFlags, (flags) => add(clientSource(flags))).pipe(
    Command.withSubcommands([
      Command.make("server", serverFlags, (flags) => add(serverSource(flags))),
      Command.make("control", controlFlags, (flags) => add(controlSource(flags))),
      Command.make("relay", relayFlags, (flags) => add(relaySource(flags)))
    ]),
    Command.withGlobalFlags([ConfigFlag, LogLevelFlag, LogFormatFlag])
  )
  yield* Command.runWith(root, { version: "0" })(command === "client" ? args : [command, ...args]).pipe(
    Effect.provide([
      NodeServices.layer,
      CliConfig.layer({ builtIns: [GlobalFlag.Help] }),
      CliOutput.layerPresenter({ present: () => Effect.void })
    ])
  )
  return sources
})

describe("flags", () => {
  for (const case_ of golden.cases.filter(({ flags, command }) => flags !== undefined && command !== "check")) {
    const because = STRICTER.get(case_.id) ?? OTHER_KEYS.get(case_.id)?.because
    it.effect(`${case_.id}: ${because ?? `${case_.note}, as upstream`}`, () =>
      Effect.gen(function* () {
        const sources = yield* Effect.result(parse(case_.command as Role, case_.flags!))
        if (case_.result.phase === "flags" || case_.result.phase === "log") {
          assert.isTrue(Result.isFailure(sources), "the parser must refuse it")
          return
        }
        if (Result.isFailure(sources)) return assert.fail(String(sources.failure))
        const result = yield* Effect.result(runCase(case_, sources.success))
        if (case_.result.ok && !STRICTER.has(case_.id)) {
          if (Result.isFailure(result)) return assert.fail(result.failure.message)
          assert.deepStrictEqual<unknown>(result.success.effective, expected(case_))
        } else {
          if (Result.isSuccess(result)) return assert.fail("accepted")
          checkError(case_, result.failure)
        }
      })
    )
  }

  /** Each flag with its name as its value. */
  const every = (flags: object) =>
    Object.keys(flags).flatMap((name) => {
      if (name.endsWith("disable")) return [`--${name}`]
      if (name === "expose" || name === "use") return [`--${name}`, `${name}=7`, `--${name}`, `${name}2=unix:/s`]
      return [`--${name}`, name.endsWith("timeout") ? "7s" : name]
    })

  it.effect("every flag of the client arrives at its key", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("client", every(clientFlags))
      assert.deepStrictEqual(source!.tables, {
        client: {
          token: "token",
          "token-file": "token-file",
          metadata: "metadata",
          server: "server",
          "server-pin": "server-pin",
          "server-addr": "server-addr",
          "server-cas-file": "server-cas-file",
          "server-name": "server-name",
          "direct-addr": "direct-addr",
          "status-addr": "status-addr",
          "nat-pmp": "nat-pmp",
          proxy: "proxy",
          transport: "transport",
          "handshake-idle-timeout": 7_000_000_000n,
          destinations: {
            expose: { url: "tcp://localhost:7" },
            expose2: { url: "unix:/s" },
            "dst-name": { url: "dst-url", route: "dst-route", "relay-encryptions": ["dst-relay-encryption"] }
          },
          sources: {
            use: { url: "tcp://localhost:7" },
            use2: { url: "unix:/s" },
            "src-name": { url: "src-url", route: "src-route", "relay-encryptions": ["src-relay-encryption"] }
          }
        }
      })
    })
  )

  it.effect("every flag of the server arrives at its key", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("server", every(serverFlags))
      assert.deepStrictEqual(source!.tables, {
        server: {
          tokens: ["tokens"],
          "tokens-file": "tokens-file",
          "endpoint-expiry-disable": true,
          "endpoint-expiry-timeout": 7_000_000_000n,
          transport: "transport",
          "status-addr": "status-addr",
          "store-dir": "store-dir",
          ingress: [
            {
              addr: "addr",
              "cert-file": "cert-file",
              "key-file": "key-file",
              "allow-cidrs": ["allow-cidr"],
              "deny-cidrs": ["deny-cidr"]
            }
          ],
          "relay-ingress": [
            {
              addr: "relay-addr",
              hostports: ["relay-hostport"],
              "allow-cidrs": ["relay-allow-cidr"],
              "deny-cidrs": ["relay-deny-cidr"]
            }
          ]
        }
      })
    })
  )

  it.effect("every flag of control arrives at its key", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("control", every(controlFlags))
      assert.deepStrictEqual(source!.tables, {
        control: {
          "clients-tokens": ["clients-tokens"],
          "clients-tokens-file": "clients-tokens-file",
          "endpoint-expiry-disable": true,
          "endpoint-expiry-timeout": 7_000_000_000n,
          "relays-tokens": ["relays-tokens"],
          "relays-tokens-file": "relays-tokens-file",
          transport: "transport",
          "status-addr": "status-addr",
          "store-dir": "store-dir",
          "clients-ingress": [
            {
              addr: "clients-addr",
              "cert-file": "clients-cert-file",
              "key-file": "clients-key-file",
              "allow-cidrs": ["clients-allow-cidr"],
              "deny-cidrs": ["clients-deny-cidr"]
            }
          ],
          "relays-ingress": [
            {
              addr: "relays-addr",
              "cert-file": "relays-cert-file",
              "key-file": "relays-key-file",
              "allow-cidrs": ["relays-allow-cidr"],
              "deny-cidrs": ["relays-deny-cidr"]
            }
          ]
        }
      })
    })
  )

  it.effect("every flag of a relay arrives at its key", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("relay", every(relayFlags))
      assert.deepStrictEqual(source!.tables, {
        relay: {
          token: "token",
          "token-file": "token-file",
          metadata: "metadata",
          "control-addr": "control-addr",
          "control-cas-file": "control-cas-file",
          "control-name": "control-name",
          proxy: "proxy",
          transport: "transport",
          "handshake-idle-timeout": 7_000_000_000n,
          "status-addr": "status-addr",
          "store-dir": "store-dir",
          ingress: [
            { addr: "addr", hostports: ["hostport"], "allow-cidrs": ["allow-cidr"], "deny-cidrs": ["deny-cidr"] }
          ]
        }
      })
    })
  )

  for (const role of ["client", "server", "control", "relay"] as const) {
    it.effect(`no flags set nothing: ${role}`, () =>
      Effect.gen(function* () {
        const [, source] = yield* parse(role, [])
        assert.deepStrictEqual(source!.tables, { [role]: {} })
      })
    )
  }

  it.effect("encryptions may stand between commas, in several flags, and replace those of the file", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("client", [
        ...["--dst-name", "d", "--dst-relay-encryption", "tls, dhxcp,", "--dst-relay-encryption", "none"],
        ...["--src-name", "s", "--src-relay-encryption", ""]
      ])
      assert.deepStrictEqual(source!.tables, {
        client: { destinations: { d: { "relay-encryptions": ["tls", "dhxcp", "none"] } }, sources: { s: {} } }
      })
    })
  )

  it.effect("a certificate for both sides of control is a default for each, and makes both ingresses", () =>
    Effect.gen(function* () {
      const [, source] = yield* parse("control", [
        ...["--cert-file", "c", "--key-file", "k", "--relays-cert-file", "rc", "--relays-key-file", "rk"]
      ])
      assert.deepStrictEqual(source!.tables, {
        control: {
          "clients-ingress": [{ "cert-file": "c", "key-file": "k" }],
          "relays-ingress": [{ "cert-file": "rc", "key-file": "rk" }]
        }
      })
    })
  )

  it.effect("log flags become root keys", () =>
    Effect.gen(function* () {
      const [log] = yield* parse("client", ["--log-level", "fine", "--log-format", "json"])
      assert.deepStrictEqual(log!.tables, { "log-level": "fine", "log-format": "json" })
    })
  )
})
