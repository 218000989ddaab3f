import { createHash } from "node:crypto"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Redacted, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { parseListenAddress, parseServerAddress, parseTcpUrl } from "../../src/config/HostPort.ts"
import { loadFiles, parseFile } from "../../src/config/loadFiles.ts"
import { parseDuration } from "../../src/config/parseDuration.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { clientToken, serverTokens } from "../../src/config/Tokens.ts"
import { folder, golden, text } from "./golden.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

/** The tables of a file that must be fine. */
const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

/** What is wrong with a file, one sentence each. */
const problems = (toml: string) => {
  const parsed = parseFile("a.toml", toml)
  return Result.isFailure(parsed) ? parsed.failure.map(({ message }) => message) : []
}

describe("durations", () => {
  for (const { text, ok, nanoseconds } of golden.durations) {
    it(`${JSON.stringify(text)} ${ok ? `is ${nanoseconds} ns` : "is refused"}`, () => {
      const parsed = parseDuration(text)
      assert.deepStrictEqual(
        Result.isSuccess(parsed) ? String(parsed.success) : undefined,
        ok ? nanoseconds : undefined
      )
    })
  }
})

describe("addresses", () => {
  for (const { server_addr, ok, dial } of golden.server_addresses) {
    // Upstream takes port 0, which nobody can dial, and sends an empty host to this machine.
    const expected = !ok || dial.endsWith(":0") ? undefined : dial.replace(/^:/, "localhost:")
    it(`server ${server_addr} ${expected === undefined ? "is refused" : `is ${expected}`}`, () => {
      const parsed = parseServerAddress(19190)(server_addr)
      assert.strictEqual(Result.isSuccess(parsed) ? text(parsed.success) : undefined, expected)
    })
  }

  for (const { text: written, ok, address } of golden.listen_addresses.filter((it) => it.text !== "")) {
    it(`listening on ${written} ${ok ? "is possible" : "is refused"}`, () => {
      const parsed = parseListenAddress(written)
      const resolved = Result.isSuccess(parsed) ? text(parsed.success).replace("localhost", "127.0.0.1") : undefined
      assert.strictEqual(resolved, ok ? address : undefined)
    })
  }

  it("an error says what to write instead", () => {
    const failure = (parsed: Result.Result<unknown, string>) => (Result.isFailure(parsed) ? parsed.failure : "")
    assert.strictEqual(failure(parseServerAddress(1)("::1")), '"::1" has no port; write [::1]:port')
    assert.strictEqual(
      failure(parseListenAddress("127.0.0.1")),
      '"127.0.0.1" is not a host and a port; write host:port, or [address]:port for IPv6'
    )
    assert.include(failure(parseTcpUrl("dial")("http://h")), "not available in this version")
    assert.include(failure(parseTcpUrl("dial")("h:1")), "unknown scheme")
    assert.include(failure(parseTcpUrl("dial")("tcp://h:0")), "no port that can be dialed")
    assert.isTrue(Result.isSuccess(parseTcpUrl("listen")("tcp://h:0")))
  })
})

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

describe("tokens", () => {
  for (const { text, tokens, client_or_relay_use } of golden.token_files) {
    const expected = tokens.map((token) => token.trim()).filter((token) => token !== "")
    it.effect(`a file of ${JSON.stringify(text)} holds ${JSON.stringify(expected)}`, () =>
      Effect.gen(function* () {
        const file = join(yield* folder({ tok: text }), "tok")
        const accepted = yield* serverTokens({ file, literals: [], origin: "" })
        assert.deepStrictEqual(accepted.map(Redacted.value), expected)
        const shown = yield* Effect.result(clientToken({ file, literal: "", origin: "" }))
        assert.strictEqual(Result.isSuccess(shown) ? Redacted.value(shown.success) : undefined, expected[0])
        if (client_or_relay_use.trim() !== "" && expected.length > 0) assert.strictEqual(expected[0], tokens[0]?.trim())
      }).pipe(noEnvironment)
    )
  }

  const hash = createHash("sha256").update("secret-token").digest("hex")

  it.effect("a file may hold hashes of tokens", () =>
    Effect.gen(function* () {
      const file = join(yield* folder({ tok: `sha256:${hash}\nplain\n` }), "tok")
      const accepted = yield* serverTokens({ file, literals: [], origin: "" })
      assert.deepStrictEqual(accepted.map(Redacted.value), [`sha256:${hash}`, "plain"])
    })
  )

  for (const [what, tokens, says] of [
    ["a token that is there twice", ["secret-token", "b", " secret-token "], "token 3 is the same as token 1"],
    ["an empty token", ["secret-token", "  "], "token 2 is empty"],
    ["a hash that is cut off", [`sha256:${hash.slice(1)}`], "token 1 is not the SHA-256 hash"],
    ["a token that no first message could carry", ["secret-token".repeat(6_000)], "token 1 has more than 60000 bytes"]
  ] as const) {
    it.effect(`${what} is refused, without showing it`, () =>
      Effect.gen(function* () {
        const error = yield* Effect.flip(serverTokens({ file: "", literals: tokens, origin: "a.toml" }))
        assert.include(error.message, says)
        assert.include(error.message, "a.toml: server.tokens: ")
        assert.notInclude(error.message, "secret-token")
        assert.notInclude(error.message, hash.slice(1))
      })
    )
  }

  it.effect("the environment's token stands in for an absent one, trimmed", () =>
    Effect.gen(function* () {
      const { token } = yield* clientConfig([])
      assert.strictEqual(Redacted.value(token), "from-env")
      assert.notInclude(String(token) + JSON.stringify(token), "from-env")
    }).pipe(
      Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({ CONNET_TOKEN: " from-env\n" }))
    )
  )
})

describe("problems", () => {
  it("an unknown key is told with the one that was probably meant", () => {
    assert.deepStrictEqual(problems('[client]\nserver_addr = "x"\n'), [
      "a.toml: client.server_addr is not a setting; did you mean client.server-addr?"
    ])
    assert.deepStrictEqual(problems('[server]\ncert-file = "x"\n'), [
      "a.toml: server.cert-file is not a setting; did you mean server.ingress.cert-file?"
    ])
    assert.deepStrictEqual(problems('[client.destinations."my web"]\nadress = "x"\n'), [
      'a.toml: client.destinations."my web".adress is not a setting; remove it'
    ])
    assert.deepStrictEqual(problems("[cleint]\n"), ["a.toml: cleint is not a setting; did you mean client?"])
    assert.deepStrictEqual(problems("zzz = 1\n"), ["a.toml: zzz is not a setting; remove it"])
  })

  it("a key that only a later version has is refused, and says so", () => {
    const file =
      '[client]\nnat-pmp = "dial"\n[client.sources.a]\nlb-policy = "random"\n[relay]\n[[server.ingress]]\nallow-cidrs = []\n'
    assert.deepStrictEqual(
      problems(file).sort(),
      ["client.nat-pmp", "client.sources.a.lb-policy", "relay", "server.ingress.allow-cidrs"].map(
        (key) => `a.toml: ${key} is not available in this version; remove it`
      )
    )
  })

  it("all problems of a file are listed at once", () => {
    assert.deepStrictEqual(problems("log-level = 1\n[client]\ntoken = true\nnope = 1\nhandshake-idle-timeout = 5\n"), [
      "a.toml: client.nope is not a setting; remove it",
      "a.toml: log-level: expected string",
      "a.toml: client.token: expected string",
      'a.toml: client.handshake-idle-timeout: 5 has no unit; write "5s" for seconds'
    ])
  })

  it("a key that is there twice in other capitals is refused", () => {
    assert.deepStrictEqual(problems('[client]\ntoken = "a"\nToken = "b"\n'), [
      "a.toml: client.token is set twice (capitals make no difference); keep one"
    ])
  })

  it("what is not TOML is told with its place", () => {
    assert.deepStrictEqual(problems("[client]\ntoken = \n"), ["a.toml:2:9: not valid TOML: invalid value"])
    assert.match(problems("\ufeff[client]\n")[0]!, /^a\.toml:1:1: the file starts with a byte order mark/)
    assert.lengthOf(problems("[client.sources.__proto__]\nurl = 'tcp://:1'\n"), 1)
  })

  it.effect("all values that make no sense are listed at once, with the file that holds each", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        clientConfig([
          source('[client]\nserver-addr = "::1"\n[client.sources.a]\nroute = "relay"\n'),
          {
            ...source('[client]\ndirect-addr = "x"\n[client.sources.a]\nurl = "udp://:1"\n[client.sources.b]\n'),
            origin: "b.toml"
          }
        ])
      )
      assert.deepStrictEqual(error.message.split("\n"), [
        'a.toml: client.server-addr: "::1" has no port; write [::1]:port',
        'b.toml: client.direct-addr: "x" is not a host and a port; write host:port, or [address]:port for IPv6',
        'a.toml: client.sources.a.route: "relay" is not available in this version; write "any" or "direct"',
        'b.toml: client.sources.a.url: "udp://:1" has an unknown scheme; write tcp://host:port',
        "b.toml: client.sources.b.url: there is none; write tcp://host:port"
      ])
    }).pipe(noEnvironment)
  )

  it.effect("files that cannot be read are all named", () =>
    Effect.gen(function* () {
      const path = yield* folder({ "bad.toml": "=" })
      const error = yield* Effect.flip(loadFiles([join(path, "none.toml"), path, join(path, "bad.toml")]))
      const lines = error.message.split("\n")
      assert.strictEqual(lines[0], `there is no file ${path}/none.toml: check the path`)
      assert.strictEqual(lines[1], `cannot read ${path}: it is a folder; name a file`)
      assert.include(lines[2], `${path}/bad.toml:1:1: not valid TOML`)
    })
  )
})
