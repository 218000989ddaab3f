import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

/** The tables of a file that must be fine. */
const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

describe("encryptions of relayed streams", () => {
  for (const [what, ofClient, ofEndpoint, expected] of [
    ["tls and dhxcp unless configured", undefined, undefined, ["tls", "dhxcp"]],
    ["those of the client", ["none", "tls"], undefined, ["none", "tls"]],
    ["those of the endpoint, in its order", ["none"], ["dhxcp", "tls"], ["dhxcp", "tls"]],
    ["those of the client where the endpoint's list is empty", ["none"], [], ["none"]],
    ["tls and dhxcp where both lists are empty", [], [], ["tls", "dhxcp"]]
  ] as const) {
    it.effect(`are ${what}`, () =>
      Effect.gen(function* () {
        const key = (list: ReadonlyArray<string> | undefined) =>
          list === undefined ? "" : `relay-encryptions = ${JSON.stringify(list)}`
        const { sources } = yield* clientConfig([
          source(
            `[client]\n${key(ofClient)}\n[client.sources.a]\nurl = "tcp://:1"\nroute = "relay"\n${key(ofEndpoint)}`
          )
        ])
        const [endpoint] = [...sources.values()]
        assert.strictEqual(endpoint?.route, "relay")
        assert.deepStrictEqual<ReadonlyArray<string> | undefined>(endpoint?.relayEncryptions, expected)
      }).pipe(noEnvironment)
    )
  }

  it.effect("are refused when they are unknown or there more than once, wherever they are", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        clientConfig([
          source(
            `[client]\nrelay-encryptions = ["TLS", "dhxcp"]
             [client.destinations.a]\nurl = "tcp://h:1"\nrelay-encryptions = ["tls", "none", "tls", "aes"]`
          )
        ])
      )
      assert.deepStrictEqual(error.message.split("\n"), [
        'a.toml:2: client.relay-encryptions: "TLS" is not an encryption; did you mean "tls"? Else write "none", "tls" or "dhxcp"',
        'a.toml:5: client.destinations.a.relay-encryptions: "aes" is not an encryption; write "none", "tls" or "dhxcp"; "tls" is there more than once; keep one'
      ])
    }).pipe(noEnvironment)
  )
})

describe("transports", () => {
  const endpoint = Effect.fnUntraced(function* (ofClient: string, ofEndpoint: string) {
    const { transport, sources } = yield* clientConfig([
      source(`[client]\n${ofClient}\n[client.sources.a]\nurl = "tcp://:1"\n${ofEndpoint}`)
    ])
    return [transport, [...sources.values()][0]?.transport]
  })

  it.effect("are that of the client where the endpoint says nothing, and both carriers by default", () =>
    Effect.gen(function* () {
      assert.deepEqual(yield* endpoint("", ""), ["auto", "auto"])
      assert.deepEqual(yield* endpoint('transport = "tcp"', ""), ["tcp", "tcp"])
      assert.deepEqual(yield* endpoint("", 'transport = "quic"'), ["auto", "quic"])
    }).pipe(noEnvironment)
  )

  it.effect("are refused when they are unknown, or more than the client has", () =>
    Effect.gen(function* () {
      const refusal = (...settings: readonly [string, string]) =>
        Effect.map(Effect.flip(endpoint(...settings)), ({ message }) => message)
      assert.strictEqual(
        yield* refusal('transport = "udp"', 'transport = "TCP"'),
        'a.toml:2: client.transport: "udp" is not a transport; write "auto", "quic" or "tcp"\n' +
          'a.toml:5: client.sources.a.transport: "TCP" is not a transport; did you mean "tcp"? Else write "auto", "quic" or "tcp"'
      )
      assert.strictEqual(
        yield* refusal('transport = "quic"', 'transport = "tcp"'),
        'a.toml:5: client.sources.a.transport: "tcp" is more than the client has with client.transport = "quic"; change one of them'
      )
    }).pipe(noEnvironment)
  )
})
