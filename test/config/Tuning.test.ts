import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import type { ConfigError } from "../../src/config/ConfigError.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { relayConfig } from "../../src/config/RelayConfig.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import type { Tuning } from "../../src/config/Tuning.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

/** The tables of a file that must be fine. */
const source = (toml: string, file = "a.toml") =>
  Result.getOrThrowWith(parseFile(file, toml), (reasons) => new Error(`${reasons}`))

const CERTIFICATE = 'cert-file = "c"\nkey-file = "k"\n'

/** Each role with what it needs to be complete. */
const ROLES: ReadonlyArray<
  [
    role: string,
    config: (sources: ReadonlyArray<ConfigSource>) => Effect.Effect<{ readonly tuning: Tuning }, ConfigError>,
    complete: string
  ]
> = [
  ["client", clientConfig, ""],
  ["server", serverConfig, `[[server.ingress]]\n${CERTIFICATE}`],
  ["control", controlConfig, `[[control.clients-ingress]]\n${CERTIFICATE}[[control.relays-ingress]]\n${CERTIFICATE}`],
  ["relay", relayConfig, ""]
]

for (const [role, config, complete] of ROLES) {
  describe(`tuning of a ${role}`, () => {
    it.effect("is left to the transport unless set, and folds one by one", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual((yield* config([source(complete)])).tuning, {})
        const { tuning } = yield* config([
          source(
            `[${role}.tuning]\ncongestion-control = "cubic"\nreceive-buffer = 1\nsend-buffer = 2_147_483_647\n${complete}`
          ),
          source(`[${role}.tuning]\ncongestion-control = ""\nreceive-buffer = 4_194_304\nidle-timeout = "1m30s"`)
        ])
        assert.deepStrictEqual(tuning, {
          congestionControl: "cubic",
          receiveBufferBytes: 4_194_304,
          sendBufferBytes: 2_147_483_647,
          idleTimeoutMillis: 90_000
        })
      }).pipe(noEnvironment)
    )

    it.effect("is refused with the key and what to write", () =>
      Effect.gen(function* () {
        const refusal = (settings: string) =>
          Effect.map(
            Effect.flip(config([source(complete), source(`[${role}.tuning]\n${settings}`, "b.toml")])),
            ({ message }) => message.split("\n")
          )
        assert.deepStrictEqual(yield* refusal('congestion-control = "BBR"\nidle-timeout = "4900ms"'), [
          `b.toml:2: ${role}.tuning.congestion-control: "BBR" is not a congestion control; did you mean "bbr"? Else write "bbr", "cubic" or "reno"`,
          `b.toml:3: ${role}.tuning.idle-timeout: 4.9s is no idle timeout; write a duration from 5s to 10m`
        ])
        assert.deepStrictEqual(yield* refusal('idle-timeout = "10m1s"'), [
          `b.toml:2: ${role}.tuning.idle-timeout: 601s is no idle timeout; write a duration from 5s to 10m`
        ])
      }).pipe(noEnvironment)
    )
  })
}

describe("buffers", () => {
  it("are whole numbers from 1 that the system takes", () => {
    const parsed = parseFile(
      "a.toml",
      '[client.tuning]\nreceive-buffer = 0\nsend-buffer = "4MiB"\n[relay.tuning]\nsend-buffer = 2_147_483_648'
    )
    assert.deepStrictEqual(Result.isFailure(parsed) ? parsed.failure.map(({ message }) => message) : [], [
      "a.toml:2: client.tuning.receive-buffer: 0 is not a size; write a whole number of bytes from 1 to 2147483647",
      'a.toml:3: client.tuning.send-buffer: expected a whole number, got "4MiB"',
      "a.toml:5: relay.tuning.send-buffer: 2147483648 is not a size; write a whole number of bytes from 1 to 2147483647"
    ])
  })
})
