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

describe("address rules", () => {
  it.effect("of each ingress are its own, and each bad entry is told with its key and what to write", () =>
    Effect.gen(function* () {
      const ingress = (rules: string) => `[[server.ingress]]\naddr = ":0"\ncert-file = "c"\nkey-file = "k"\n${rules}\n`
      const { ingresses, relayIngresses } = yield* serverConfig([
        source(`${ingress('deny-cidrs = ["10.0.0.0/8"]')}${ingress("")}[[server.relay-ingress]]\nallow-cidrs = ["::1"]`)
      ])
      assert.deepEqual(
        [...ingresses, ...relayIngresses].map(({ addresses }) => [
          addresses.allows("10.0.0.1"),
          addresses.allows("::1")
        ]),
        [
          [false, true],
          [true, true],
          [false, true]
        ]
      )
      const bad = source(`${ingress('allow-cidrs = ["10.0.0.0/33", "::1"]\ndeny-cidrs = ["lan"]')}`)
      const error = yield* Effect.flip(serverConfig([bad]))
      assert.deepEqual(error.message.split("\n"), [
        'a.toml:5: server.ingress[0].allow-cidrs: "10.0.0.0/33" is not an address or a range; write one like 10.0.0.0/8 or 192.0.2.7',
        'a.toml:6: server.ingress[0].deny-cidrs: "lan" is not an address or a range; write one like 10.0.0.0/8 or 192.0.2.7'
      ])
    })
  )
})
