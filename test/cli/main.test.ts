import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import { TestConsole } from "effect/testing"
import { issueServer } from "../../src/certs/issue.ts"
import { VERSION } from "../../src/cli/version.ts"
import { folder } from "../config/golden.ts"
import { startService } from "../endpoint/World.ts"
import { connet } from "./commandLine.ts"
import { homeIn } from "./roles.ts"

const serverFiles = Effect.gen(function* () {
  const { certificatePem, privateKeyPem } = yield* issueServer(["localhost"])
  return { "server.crt": certificatePem, "server.key": Redacted.value(privateKeyPem) }
})

describe("the command line", () => {
  it.effect("version prints the version and nothing else", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* connet("version"), { code: 0, stderr: "" })
      assert.deepStrictEqual(yield* TestConsole.logLines, [VERSION])
    })
  )

  it.effect("help goes to stdout, and is no failure", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* connet("server", "--help"), { code: 0, stderr: "" })
      assert.include(String(yield* TestConsole.logLines), "--endpoint-expiry-timeout")
    })
  )

  for (const [what, args, says] of [
    ["an unknown flag", ["--tokn", "x"], "--tokn"],
    ["an unknown command", ["srever"], "server"],
    ["a flag without its value", ["server", "--addr"], "--addr"],
    ["a level that does not exist", ["--log-level", "loud"], "loud"],
    ["a duration that is none", ["server", "--endpoint-expiry-timeout", "1d"], '"1d" is not a duration']
  ] as const) {
    it.effect(`${what} is bad usage: code 2, and two lines on stderr`, () =>
      Effect.gen(function* () {
        const { code, stderr } = yield* connet(...args)
        assert.strictEqual(code, 2)
        assert.include(stderr, says)
        assert.match(stderr, /^connet: .+\nRun "connet.* --help" for help\.\n$/)
        assert.deepStrictEqual(yield* TestConsole.logLines, [])
      })
    )
  }

  it.effect("an unknown key ends the command with code 1 and one sentence", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "a.toml": '[client]\nsevrer-addr = "x"\n' })
      assert.deepStrictEqual(yield* connet("--config", join(path, "a.toml")), {
        code: 1,
        stderr: `connet: ${path}/a.toml:2: client.sevrer-addr is not a setting; did you mean client.server-addr?\n`
      })
    })
  )

  it.effect("a certificate that is not there is told with its path", () =>
    Effect.gen(function* () {
      const path = yield* folder({})
      const { code, stderr } = yield* connet("server", "--cert-file", join(path, "c"), "--key-file", join(path, "k"))
      assert.strictEqual(code, 1)
      assert.strictEqual(
        stderr,
        `connet: command line: server.ingress[0].cert-file: there is no file ${path}/c: check the path\n`
      )
    })
  )

  for (const role of ["client", "server", "control", "relay"] as const) {
    it.live(`a status address that is taken ends the ${role} with code 1, and is told with its setting`, () =>
      Effect.gen(function* () {
        const taken = yield* startService(() => {})
        const path = yield* folder(yield* serverFiles)
        const certificate = ["--cert-file", join(path, "server.crt"), "--key-file", join(path, "server.key")]
        const own = {
          client: ["--direct-addr", "127.0.0.1:0", "--nat-pmp", "disabled"],
          server: ["server", ...certificate, "--addr", "127.0.0.1:0", "--relay-addr", "127.0.0.1:0"],
          control: ["control", ...certificate, "--clients-addr", "127.0.0.1:0", "--relays-addr", "127.0.0.1:0"],
          relay: ["relay", "--addr", "127.0.0.1:0"]
        }
        const { code, stderr } = yield* connet(...own[role], "--status-addr", `127.0.0.1:${taken}`).pipe(
          Effect.provideService(ConfigProvider.ConfigProvider, homeIn(path))
        )
        assert.strictEqual(code, 1)
        const says = `connet: cannot listen on 127.0.0.1:${taken}: address in use; set ${role}.status-addr to another port\n`
        assert.isTrue(stderr.endsWith(says), stderr)
      })
    )
  }

  it.effect("the key of another certificate is told with both paths", () =>
    Effect.gen(function* () {
      const files = yield* serverFiles
      const path = yield* folder({ ...files, "other.key": (yield* serverFiles)["server.key"] })
      const { code, stderr } = yield* connet(
        "server",
        "--cert-file",
        join(path, "server.crt"),
        "--key-file",
        join(path, "other.key")
      )
      assert.strictEqual(code, 1)
      assert.match(
        stderr,
        /^connet: command line: server\.ingress\[0\]\.key-file: the key in .+other\.key does not belong to the certificate in .+server\.crt: .+\n$/
      )
    })
  )

  it.effect("a file of authorities without a certificate is told", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "ca.pem": "nothing" })
      const { code, stderr } = yield* connet("--server-cas-file", join(path, "ca.pem"))
      assert.strictEqual(code, 1)
      assert.match(stderr, /^connet: .+ca\.pem holds no certificate: .+\n$/)
    })
  )
})
