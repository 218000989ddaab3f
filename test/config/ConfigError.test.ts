import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result } from "effect"
import { clientConfig } from "../../src/config/ClientConfig.ts"
import { loadFiles, parseFile } from "../../src/config/loadFiles.ts"
import { folder } from "./golden.ts"

const noEnvironment = Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown({}))

/** The tables of a file that must be fine. */
const source = (toml: string) => Result.getOrThrowWith(parseFile("a.toml", toml), (reasons) => new Error(`${reasons}`))

/** What is wrong with a file, one sentence each. */
const problems = (toml: string) => {
  const parsed = parseFile("a.toml", toml)
  return Result.isFailure(parsed) ? parsed.failure.map(({ message }) => message) : []
}

describe("problems", () => {
  it("an unknown key is told with the one that was probably meant", () => {
    assert.deepStrictEqual(problems('[client]\nserver_addr = "x"\n'), [
      "a.toml:2: client.server_addr is not a setting; did you mean client.server-addr?"
    ])
    assert.deepStrictEqual(problems('[server]\ncert-file = "x"\n'), [
      "a.toml:2: server.cert-file is not a setting; did you mean server.ingress.cert-file?"
    ])
    assert.deepStrictEqual(problems('[client.destinations."my web"]\nadress = "x"\n'), [
      'a.toml:2: client.destinations."my web".adress is not a setting; remove it'
    ])
    assert.deepStrictEqual(problems("[cleint]\n"), ["a.toml:1: cleint is not a setting; did you mean client?"])
    assert.deepStrictEqual(problems("zzz = 1\n"), ["a.toml:1: zzz is not a setting; remove it"])
  })

  it("all problems of a file are listed at once", () => {
    assert.deepStrictEqual(problems("log-level = 1\n[client]\ntoken = true\nnope = 1\nhandshake-idle-timeout = 5\n"), [
      "a.toml:4: client.nope is not a setting; remove it",
      "a.toml:1: log-level: expected text in quotes, got 1",
      "a.toml:3: client.token: expected text in quotes, got a boolean",
      'a.toml:5: client.handshake-idle-timeout: 5 has no unit; write "5s" for seconds'
    ])
  })

  it("several values of one table that cannot be are each told", () => {
    assert.deepStrictEqual(problems("[[server.ingress]]\naddr = 1\ncert-file = 2\nallow-cidrs = 3\n"), [
      "a.toml:2: server.ingress[0].addr: expected text in quotes, got 1",
      "a.toml:3: server.ingress[0].cert-file: expected text in quotes, got 2",
      "a.toml:4: server.ingress[0].allow-cidrs: expected a list, got 3"
    ])
  })

  it("a key that is there twice in other capitals is refused", () => {
    assert.deepStrictEqual(problems('[client]\ntoken = "a"\nToken = "b"\n'), [
      "a.toml:2: client.token is set twice (capitals make no difference); keep one"
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
          source('[client]\nserver-addr = "::1"\n[client.sources.a]\nroute = "relais"\n'),
          {
            ...source('[client]\ndirect-addr = "x"\n[client.sources.a]\nurl = "udp://:1"\n[client.sources.b]\n'),
            origin: "b.toml"
          }
        ])
      )
      assert.deepStrictEqual(error.message.split("\n"), [
        'a.toml:2: client.server-addr: "::1" has no port; write [::1]:port',
        'b.toml:2: client.direct-addr: "x" is not a host and a port; write host:port, or [address]:port for IPv6',
        'a.toml:4: client.sources.a.route: "relais" is not a route; did you mean "relay"? Else write "any", "direct" or "relay"',
        'b.toml:4: client.sources.a.url: "udp://:1" has an unknown scheme; write one of tcp, tls, unix, http, https, ws, wss',
        "b.toml:5: client.sources.b.url: there is none; write tcp://host:port"
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
