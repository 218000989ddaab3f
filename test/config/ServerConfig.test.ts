import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Result } from "effect"
import { parseFile } from "../../src/config/loadFiles.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { golden } from "./golden.ts"

/** The tables of a file that must be fine. */
const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

describe("endpoint expiry", () => {
  for (const { disable, timeout_ns, effective_ns } of golden.endpoint_expiry) {
    it.effect(`${timeout_ns} ns${disable ? ", disabled," : ""} is ${effective_ns} ns`, () =>
      Effect.gen(function* () {
        const config = yield* serverConfig([
          source(
            `[server]\nendpoint-expiry-disable = ${disable}\nendpoint-expiry-timeout = "${timeout_ns}ns"
             [[server.ingress]]\ncert-file = "c"\nkey-file = "k"`
          )
        ])
        assert.strictEqual(Number(Duration.toNanosUnsafe(config.endpointExpiry)), effective_ns)
      })
    )
  }
})
