import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { loadFiles } from "../../src/config/loadFiles.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"

const FOLDER = join(import.meta.dirname, "..", "..", "config")
const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))
const load = (name: string) => loadFiles([join(FOLDER, name)])

describe("the example configurations", () => {
  it("are those that tests start, and that the README tells of", () => {
    const tests = ["Tunnel.ts", "examples.test.ts", "web.test.ts"]
      .map((name) => readFileSync(join(import.meta.dirname, "..", "cli", name), "utf8"))
      .join("\n")
    const readme = readFileSync(join(FOLDER, "..", "README.md"), "utf8")
    for (const name of readdirSync(FOLDER)) {
      assert.include(tests, `"${name}"`)
      assert.include(readme, `](config/${name})`)
    }
  })

  it.effect("fit together: same token, same name, and the clients reach the server's port", () =>
    Effect.gen(function* () {
      const server = yield* serverConfig(yield* load("server.toml"))
      const destination = yield* clientConfig(yield* load("destination.toml"))
      const source = yield* clientConfig(yield* load("source.toml"))
      for (const client of [destination, source]) {
        assert.deepStrictEqual(
          server.tokens.map(({ token }) => Redacted.value(token)),
          [Redacted.value(client.token)]
        )
        assert.strictEqual(client.server.port, server.ingresses[0]!.address.port)
        assert.strictEqual(client.serverAuthoritiesFile, server.ingresses[0]!.certificate?.certificateFile)
        assert.strictEqual(client.directAddress.port, 0)
      }
      assert.deepStrictEqual([...destination.destinations.keys()], [...source.sources.keys()])
    }).pipe(noEnvironment)
  )
})
