/** What each command makes of `[<role>.tuning]`, up to the point where it opens sockets. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Redacted } from "effect"
import { vi } from "vitest"
import { issueServer } from "../../src/certs/issue.ts"
import { run } from "../../src/cli/main.ts"
import * as Network from "../../src/transport/Network.ts"
import { Transport } from "../../src/transport/Transport.ts"
import { TransportError, Unsupported } from "../../src/transport/TransportError.ts"
import { folder } from "../config/golden.ts"

vi.mock("../../src/transport/Network.ts", { spy: true })

describe("tuning", () => {
  for (const role of ["client", "server", "control", "relay"]) {
    it.effect(`of a ${role} is what its network is made with`, () =>
      Effect.gen(function* () {
        const { certificatePem, privateKeyPem } = yield* issueServer(["localhost"])
        const path = yield* folder({ crt: certificatePem, key: Redacted.value(privateKeyPem) })
        const certificate = `cert-file = "${path}/crt"\nkey-file = "${path}/key"\n`
        const config = yield* folder({
          "a.toml":
            `[${role}]\ntransport = "quic"\n[${role}.tuning]\ncongestion-control = "reno"\nreceive-buffer = 65_536\n` +
            `send-buffer = 32_768\nidle-timeout = "7s"\n[[server.ingress]]\n${certificate}` +
            `[[control.clients-ingress]]\n${certificate}[[control.relays-ingress]]\n${certificate}`
        })
        const noNetwork = new TransportError({ reason: new Unsupported({ detail: "no network in this test" }) })
        const layer = vi.mocked(Network.layer).mockReturnValue(Layer.effect(Transport, Effect.fail(noNetwork)))
        const stderr = vi.spyOn(process.stderr, "write").mockReturnValue(true)
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
        const environment = ConfigProvider.fromUnknown({ CONNET_CACHE_DIR: config })
        yield* Effect.exit(
          run([...(role === "client" ? [] : [role]), "--config", join(config, "a.toml")]).pipe(
            Effect.provideService(ConfigProvider.ConfigProvider, environment)
          )
        )
        assert.include(String(stderr.mock.calls.at(-1)), "no network in this test")
        const { resetKey, ...options } = layer.mock.lastCall![0]!
        assert.deepEqual(options, {
          transport: "quic",
          congestionControl: "reno",
          receiveBufferBytes: 65_536,
          sendBufferBytes: 32_768,
          idleTimeoutMillis: 7_000
        })
        const kept = role === "client" ? readFileSync(join(config, "stateless-reset-19192.key")) : undefined
        assert.deepEqual(resetKey && Buffer.from(Redacted.value(resetKey)), kept)
      })
    )
  }
})
