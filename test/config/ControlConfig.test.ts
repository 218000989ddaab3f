import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Redacted, Result } from "effect"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import type { TokenRule } from "../../src/domain/TokenRule.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

/** The tables of a file that must be fine. */
const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

const texts = (rules: ReadonlyArray<TokenRule>) => rules.map(({ token }) => Redacted.value(token))

const INGRESSES = `
[[control.clients-ingress]]\ncert-file = "c"\nkey-file = "k"
[[control.relays-ingress]]\ncert-file = "c"\nkey-file = "k"
`

describe("control", () => {
  it.effect("has tokens and ingresses of its own for clients and for relays", () =>
    Effect.gen(function* () {
      const { clients, relays, storeFolder } = yield* controlConfig([
        source(`[control]\nclients-tokens = ["a", "b"]\nrelays-tokens = ["a"]\nstore-dir = "state"\n${INGRESSES}`)
      ])
      assert.deepStrictEqual(texts(clients.tokens), ["a", "b"])
      assert.deepStrictEqual(texts(relays.tokens), ["a"])
      const certificate = { certificateFile: "c", keyFile: "k" }
      assert.deepInclude(clients.ingresses[0], { address: { host: "", port: 19_190 }, certificate })
      assert.deepInclude(relays.ingresses[0], { address: { host: "", port: 19_189 }, certificate })
      assert.strictEqual(storeFolder, "state")
    }).pipe(noEnvironment)
  )

  it.effect("the tokens of one side are replaced without those of the other", () =>
    Effect.gen(function* () {
      const { clients, relays } = yield* controlConfig([
        source(`[control]\nclients-tokens-file = "/nowhere"\nrelays-tokens = ["r"]\n${INGRESSES}`),
        source('[control]\nclients-tokens = ["c"]')
      ])
      assert.deepStrictEqual(texts(clients.tokens), ["c"])
      assert.deepStrictEqual(texts(relays.tokens), ["r"])
    }).pipe(noEnvironment)
  )

  for (const [settings, expiry] of [
    ["", 30_000],
    ['endpoint-expiry-timeout = "5s"', 5_000],
    ['endpoint-expiry-timeout = "5s"\nendpoint-expiry-disable = true', 0]
  ] as const) {
    it.effect(`endpoints expire after ${expiry} ms with ${JSON.stringify(settings)}`, () =>
      Effect.gen(function* () {
        const { endpointExpiry } = yield* controlConfig([source(`[control]\n${settings}\n${INGRESSES}`)])
        assert.strictEqual(Duration.toMillis(endpointExpiry), expiry)
      }).pipe(noEnvironment)
    )
  }

  it.effect("lists all that is wrong with its settings at once, and misses an ingress on either side", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        controlConfig([
          source(
            `[control]\nclients-tokens = ["secret", "secret"]\nrelays-tokens-file = "/nowhere"
             [[control.clients-ingress]]\naddr = "x"\n[[control.clients-ingress]]\ncert-file = "c"\nkey-file = "k"
             [[control.clients-ingress]]\ncert-file = "c"\nkey-file = "k"`
          )
        ])
      )
      assert.deepStrictEqual(error.message.split("\n"), [
        "a.toml:4: control.clients-ingress[0].cert-file is missing: every ingress needs a certificate and its key",
        "a.toml:4: control.clients-ingress[0].key-file is missing: every ingress needs a certificate and its key",
        'a.toml:5: control.clients-ingress[0].addr: "x" is not a host and a port; write host:port, or [address]:port for IPv6',
        "a.toml:9: control.clients-ingress[2].addr is missing: only one ingress can have the default, :19190",
        "a.toml:2: control.clients-tokens: token 2 is the same as token 1; remove one of them",
        "control.relays-ingress is missing: give the server a certificate with [[control.relays-ingress]] cert-file and key-file",
        "a.toml:3: control.relays-tokens-file: there is no file /nowhere: check the path"
      ])
    }).pipe(noEnvironment)
  )
})
