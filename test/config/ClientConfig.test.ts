import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { folder } from "./golden.ts"

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

describe("the key of stateless resets", () => {
  it.effect("is refused with what to write, and is not shown", () =>
    Effect.gen(function* () {
      const refusal = (settings: string) =>
        Effect.map(Effect.flip(clientConfig([source(`[client]\n${settings}`)])), ({ message }) => message)
      assert.strictEqual(
        yield* refusal('direct-stateless-reset-key = "0123"'),
        "a.toml:2: client.direct-stateless-reset-key: it is not 32 bytes in base32hex; write 52 of 0-9 and a-v, or leave it out to have a key made and kept"
      )
      const path = yield* folder({ key: "short" })
      assert.strictEqual(
        yield* refusal(`direct-stateless-reset-key-file = "${path}/key"`),
        `${path}/key: client.direct-stateless-reset-key-file: the file has 5 bytes, and a key has 32; make one with "head -c 32 /dev/urandom"`
      )
    }).pipe(noEnvironment)
  )

  it.effect("is any 32 bytes of a file", () =>
    Effect.gen(function* () {
      const path = yield* folder({})
      const bytes = Uint8Array.from({ length: 32 }, (_, at) => 255 - at)
      writeFileSync(join(path, "key"), bytes)
      const { resetKey } = yield* clientConfig([
        source(`[client]\ndirect-stateless-reset-key-file = "${path}/key"\ndirect-stateless-reset-key = "0123"`)
      ])
      assert.deepEqual(Uint8Array.from(Redacted.value(resetKey!)), bytes)
      assert.notInclude(JSON.stringify({ resetKey }), "255")
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
