import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import type { ConfigError } from "../../src/config/ConfigError.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { type ProxySetting, proxyChoice } from "../../src/config/ProxySetting.ts"
import { relayConfig } from "../../src/config/RelayConfig.ts"
import { formatProxy } from "../../src/domain/Proxy.ts"

const environment = (variables: Readonly<Record<string, string>>) =>
  Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(variables))

const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

type Settings = (sources: ReadonlyArray<ConfigSource>) => Effect.Effect<{ readonly proxy: ProxySetting }, ConfigError>

const ROLES: Readonly<Record<"client" | "relay", Settings>> = { client: clientConfig, relay: relayConfig }

describe("the proxy that is configured", () => {
  for (const role of ["client", "relay"] as const) {
    const proxyOf = (...values: ReadonlyArray<string>) =>
      Effect.map(ROLES[role](values.map((value) => source(`[${role}]\nproxy = "${value}"`))), ({ proxy }) => proxy)

    it.effect(`${role}: is that of the environment, none, or a URL; the last one counts`, () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* proxyOf(), "environment")
        assert.strictEqual(yield* proxyOf("none"), "none")
        assert.strictEqual(yield* proxyOf("none", "environment"), "environment")
        const proxy = yield* proxyOf("none", "socks5://user:secret@proxy.example:9050", "")
        if (typeof proxy === "string") return assert.fail(proxy)
        assert.strictEqual(formatProxy(proxy), "socks5://proxy.example:9050")
        assert.strictEqual(Redacted.value(proxy.credentials!.password), "secret")
      }).pipe(environment({}))
    )

    it.effect(`${role}: that is none is refused without its password`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(ROLES[role]([source(`[${role}]\nproxy = "socks4://u:secret@h:1"`)]))
        assert.strictEqual(
          error.message.split("\n")[0],
          `a.toml:2: ${role}.proxy: "socks4://…@h:1" has a scheme that is not one of a proxy; write http://host:port, https://host:port or socks5://host:port, or "none"`
        )
      }).pipe(environment({}))
    )
  }

  it.effect("is used for every target, that of the environment where NO_PROXY does not name it, and none never", () =>
    Effect.gen(function* () {
      const way = Effect.fnUntraced(function* (setting: ProxySetting, host: string) {
        const proxy = Result.getOrThrow((yield* proxyChoice(setting))({ host, port: 1 }))
        return proxy && formatProxy(proxy)
      })
      const configured = { kind: "http", host: "c", port: 1, credentials: undefined } as const
      assert.strictEqual(yield* way(configured, "localhost"), "http://c:1")
      assert.strictEqual(yield* way("environment", "a.example"), "http://e:1")
      assert.isUndefined(yield* way("environment", "b.example"))
      assert.isUndefined(yield* way("none", "a.example"))
    }).pipe(environment({ HTTPS_PROXY: "http://e:1", no_proxy: "b.example" }))
  )
})
