import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import type { ConfigError } from "../../src/config/ConfigError.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { relayConfig } from "../../src/config/RelayConfig.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import type { TransportChoice } from "../../src/domain/Carrier.ts"

const INGRESS = 'cert-file = "c"\nkey-file = "k"\n'

interface RoleCase {
  readonly role: string
  readonly config: (
    sources: ReadonlyArray<ConfigSource>
  ) => Effect.Effect<{ readonly transport: TransportChoice }, ConfigError>
  readonly rest: string
}

/** Each role with what else it needs. */
const roles: ReadonlyArray<RoleCase> = [
  { role: "client", config: clientConfig, rest: "" },
  { role: "server", config: serverConfig, rest: `[[server.ingress]]\n${INGRESS}` },
  {
    role: "control",
    config: controlConfig,
    rest: `[[control.clients-ingress]]\n${INGRESS}[[control.relays-ingress]]\n${INGRESS}`
  },
  { role: "relay", config: relayConfig, rest: "" }
]

describe.each(roles)("the transport of $role", ({ role, config, rest }) => {
  const read = (settings: string) =>
    config([
      Result.getOrThrowWith(
        parseFile("a.toml", `[${role}]\n${settings}\n${rest}`),
        (reasons) => new Error(`${reasons}`)
      )
    ]).pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({})))

  it.effect("is both carriers, or the one that is set", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* read("")).transport, "auto")
      assert.strictEqual((yield* read('transport = ""')).transport, "auto")
      assert.strictEqual((yield* read('transport = "tcp"')).transport, "tcp")
    })
  )

  it.effect("is refused when it is none", () =>
    Effect.gen(function* () {
      const { message } = yield* Effect.flip(read('transport = "udp"'))
      assert.include(message, `a.toml:2: ${role}.transport: "udp" is not a transport; write "auto", "quic" or "tcp"`)
    })
  )
})
