/** What each command makes of `[<role>.tuning]`, down to its socket and to the native library. */
import dgram from "node:dgram"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber, Redacted, Schedule } from "effect"
import { vi } from "vitest"
import { issueServer } from "../../src/certs/issue.ts"
import { run } from "../../src/cli/main.ts"
import { loadNative, type NativeConfig } from "../../src/transport/quic/internal/native.ts"
import { folder } from "../config/golden.ts"

const ADDRESSES: Record<string, string> = {
  client: 'direct-addr = "127.0.0.1:0"\nnat-pmp = "disabled"\nserver-addr = "127.0.0.1:1"\n',
  relay: 'control-addr = "127.0.0.1:1"\n'
}

describe("tuning", () => {
  for (const role of ["client", "server", "control", "relay"]) {
    it.live(`of a ${role} is what its sockets and its connections are made with`, () =>
      Effect.gen(function* () {
        const { certificatePem, privateKeyPem } = yield* issueServer(["localhost"])
        const files = { "server.crt": certificatePem, "server.key": Redacted.value(privateKeyPem) }
        const path = yield* folder({ ...files })
        const ingress = `addr = "127.0.0.1:0"\n`
        const certified = `${ingress}cert-file = "${path}/server.crt"\nkey-file = "${path}/server.key"\n`
        const config = yield* folder({
          "a.toml":
            `log-level = "error"\n[${role}]\ntransport = "quic"\n${ADDRESSES[role] ?? ""}[${role}.tuning]\n` +
            `congestion-control = "reno"\nreceive-buffer = 65_536\nsend-buffer = 32_768\nidle-timeout = "7s"\n` +
            `[[server.ingress]]\n${certified}[[server.relay-ingress]]\n${ingress}[[relay.ingress]]\n${ingress}` +
            `[[control.clients-ingress]]\n${certified}[[control.relays-ingress]]\n${certified}`
        })
        const native = yield* Effect.promise(loadNative)
        const prototype = (native.Config as unknown as { readonly prototype: NativeConfig }).prototype
        const congestion = vi.spyOn(prototype, "setCcAlgorithmName")
        const idle = vi.spyOn(prototype, "setMaxIdleTimeout")
        const sockets = vi.spyOn(dgram, "createSocket")
        yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))

        const environment = ConfigProvider.fromUnknown({ CONNET_CACHE_DIR: config })
        const running = yield* run([...(role === "client" ? [] : [role]), "--config", join(config, "a.toml")]).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, environment),
          Effect.forkScoped
        )
        yield* Effect.suspend(() => (congestion.mock.calls.length > 0 ? Effect.void : Effect.fail("not yet"))).pipe(
          Effect.retry(Schedule.spaced("10 millis"))
        )
        const sizes = sockets.mock.results.map(({ value }) => [value.getRecvBufferSize(), value.getSendBufferSize()])
        yield* Fiber.interrupt(running)

        assert.deepEqual(new Set(congestion.mock.calls.flat()), new Set(["reno"]))
        assert.deepEqual(new Set(idle.mock.calls.flat()), new Set([7_000]))
        // Linux sets twice of what it is asked for, other systems exactly that.
        const factor = process.platform === "linux" ? 2 : 1
        assert.isNotEmpty(sizes)
        for (const size of sizes) assert.deepEqual(size, [65_536 * factor, 32_768 * factor])
        const kept = role === "client" ? readFileSync(join(config, "stateless-reset-127.0.0.1-0.key")) : undefined
        assert.strictEqual(kept?.length, role === "client" ? 32 : undefined)
      })
    )
  }
})
