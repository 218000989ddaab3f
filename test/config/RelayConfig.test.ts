import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { parseFile } from "../../src/config/loadFiles.ts"
import { relayConfig } from "../../src/config/RelayConfig.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { golden } from "./golden.ts"

const environment = (variables: Readonly<Record<string, string>>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))

/** The tables of a file that must be fine. */
const source = (toml: string, file = "a.toml") =>
  Result.getOrThrowWith(parseFile(file, toml), (reasons) => new Error(`${reasons}`))

/** The only ingress of a relay. */
const ingress = Effect.fnUntraced(function* (settings: string) {
  const { ingresses } = yield* relayConfig([source(`[[relay.ingress]]\n${settings}`)])
  assert.lengthOf(ingresses, 1)
  return ingresses[0]!
}, environment({}))

/** What upstream takes for a host, and no client could dial. */
const STRICTER = new Set([
  "2001:db8::1",
  "::1",
  "2001:db8::1:443",
  "[]",
  "[]:443",
  "[::1]]:443",
  "a:b:443",
  " host :443"
])

describe("hostports", () => {
  for (const { listen, text, ok, host, port: upstreamPort } of golden.hostports) {
    const accepted = ok && !STRICTER.has(text)
    // Upstream tells of its default port where the system chooses one; here it is the one that is bound.
    const port = listen === ":0" && upstreamPort === 19_191 ? 0 : upstreamPort
    const told = accepted ? `is ${host}, port ${port}` : "is refused"
    it.effect(`${JSON.stringify(text)} of an ingress at ${JSON.stringify(listen)} ${told}`, () =>
      Effect.gen(function* () {
        const result = yield* Effect.result(
          ingress(`addr = ${JSON.stringify(listen)}\nhostports = [${JSON.stringify(text)}]`)
        )
        assert.deepStrictEqual(
          Result.isSuccess(result) ? result.success.advertised : undefined,
          accepted ? [{ host: host.replace(/^\[|\]$/g, ""), port }] : undefined
        )
      })
    )
  }

  for (const [addr, host, port] of [
    [":5000", "localhost", 5_000],
    ["0.0.0.0:5000", "localhost", 5_000],
    ["[::]:0", "localhost", 0],
    ["relay.example.test:5000", "localhost", 5_000],
    ["192.0.2.1:5000", "192.0.2.1", 5_000]
  ] as const) {
    it.effect(`an ingress at ${addr} without any is found at ${host}, port ${port}`, () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* ingress(`addr = "${addr}"`)).advertised, [{ host, port }])
      })
    )
  }
})

describe("a relay", () => {
  it.effect("lists all that is wrong with its settings at once", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        relayConfig([
          source('[relay]\ncontrol-addr = "control.example.test"\n'),
          source(
            `[relay]\nmetadata = "${"x".repeat(4_097)}"\ntoken-file = "/nowhere/token"
             [[relay.ingress]]\nhostports = ["a:b", "ok", "::1"]\n[[relay.ingress]]\n[[relay.ingress]]\naddr = "x"`,
            "b.toml"
          )
        ])
      )
      assert.deepStrictEqual(error.message.split("\n"), [
        "b.toml:2: relay.metadata: it has 4097 bytes; write at most 4096",
        'a.toml:2: relay.control-addr: "control.example.test" is not a host and a port; write host:port, or [address]:port for IPv6',
        'b.toml:5: relay.ingress[0].hostports: "a:b" is not a host with or without port; write host, host:port or [address]:port',
        'b.toml:5: relay.ingress[0].hostports: "::1" is an IPv6 address without brackets; write [::1]',
        "b.toml:6: relay.ingress[1].addr is missing: only one ingress can have the default, :19191",
        'b.toml:8: relay.ingress[2].addr: "x" is not a host and a port; write host:port, or [address]:port for IPv6',
        "b.toml:3: relay.token-file: there is no file /nowhere/token: check the path"
      ])
    }).pipe(environment({}))
  )

  it.effect("does not show the token of a client that the environment holds", () =>
    Effect.gen(function* () {
      assert.strictEqual(Redacted.value((yield* relayConfig([])).token), "")
    }).pipe(environment({ CONNET_TOKEN: "of-a-client" }))
  )

  it.effect("keeps what it must in the configured folder, else in that of the environment, else nowhere", () =>
    Effect.gen(function* () {
      const folder = (variables: Readonly<Record<string, string>>, toml = "") =>
        relayConfig([source(toml)]).pipe(
          Effect.map(({ storeFolder }) => storeFolder),
          environment(variables)
        )
      const both = { CONNET_STATE_DIR: "ours", STATE_DIRECTORY: "systemd" }
      assert.strictEqual(yield* folder(both, '[relay]\nstore-dir = "configured"'), "configured")
      assert.strictEqual(yield* folder(both, '[relay]\nstore-dir = ""'), "ours")
      assert.strictEqual(yield* folder({ ...both, CONNET_STATE_DIR: "" }), "systemd")
      assert.isUndefined(yield* folder({}))
    })
  )
})

describe("limits of a relay", () => {
  it.effect("are off unless set, and fold one by one", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* relayConfig([])).limits, {})
      const { limits } = yield* relayConfig([
        source("[relay.limits]\nstreams-per-link = 1\nlinks-per-address = 2"),
        source("[relay.limits]\nstreams-per-link = 3\nbytes-per-second-per-link = 1_000_000")
      ])
      assert.deepStrictEqual(limits, { streamsPerLink: 3, linksPerAddress: 2, bytesPerSecondPerLink: 1_000_000 })
    }).pipe(environment({}))
  )

  it.effect("are the same for the relay within a server", () =>
    Effect.gen(function* () {
      const { relayLimits } = yield* serverConfig([
        source('[server.relay-limits]\nlinks-per-address = 2\n[[server.ingress]]\ncert-file = "c"\nkey-file = "k"')
      ])
      assert.deepStrictEqual(relayLimits, { linksPerAddress: 2 })
    }).pipe(environment({}))
  )

  it("are whole numbers from 1", () => {
    const parsed = parseFile(
      "a.toml",
      '[relay.limits]\nstreams-per-link = 0\nlinks-per-address = "9"\n[server.relay-limits]\nlinks-per-address = -1\nstreams-per-link = 1.5'
    )
    assert.deepStrictEqual(Result.isFailure(parsed) ? parsed.failure.map(({ message }) => message) : [], [
      "a.toml:6: server.relay-limits.streams-per-link: expected a whole number, got 1.5",
      "a.toml:5: server.relay-limits.links-per-address: -1 is not a limit; write a whole number from 1, or leave it out for no limit",
      "a.toml:2: relay.limits.streams-per-link: 0 is not a limit; write a whole number from 1, or leave it out for no limit",
      'a.toml:3: relay.limits.links-per-address: expected a whole number, got "9"'
    ])
  })
})
