import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import { TestConsole } from "effect/testing"
import { parse } from "smol-toml"
import { issueServer } from "../../src/certs/issue.ts"
import { run } from "../../src/cli/main.ts"
import type { RoleName } from "../../src/config/ConfigTables.ts"
import { printed } from "../../src/config/effective.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { folder, golden } from "../config/golden.ts"

const printedBy = (...args: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    yield* run(["check", ...args])
    return (yield* TestConsole.logLines).join("\n")
  })

const certified = Effect.gen(function* () {
  const { certificatePem, privateKeyPem } = yield* issueServer(["localhost"])
  return { "a.crt": certificatePem, "a.key": Redacted.value(privateKeyPem) }
})

describe("connet check", () => {
  it.effect("says nothing about what is fine, whichever roles it is for", () =>
    Effect.gen(function* () {
      const path = yield* folder(yield* certified)
      const ingress = `cert-file = "${path}/a.crt"\nkey-file = "${path}/a.key"\n`
      const files = yield* folder({
        "a.toml": `[server]\ntokens = ["t"]\n[[server.ingress]]\n${ingress}[client]\ntoken = "t"\n[client.sources.a]\nurl = "tcp://:1"\n`,
        "b.toml": `[control]\n[[control.clients-ingress]]\n${ingress}[[control.relays-ingress]]\n${ingress}[relay]\ntoken = "r"\n`
      })
      assert.strictEqual(yield* printedBy(join(files, "a.toml"), join(files, "b.toml")), "")
    })
  )

  it.effect("prints what holds, with defaults and without what is secret", () =>
    Effect.gen(function* () {
      const path = yield* folder({
        "base.toml": '[client]\ntoken = "secret"\nproxy = "http://me:secret@h:1"\nhandshake-idle-timeout = "1m30s"\n',
        "more.toml":
          '[client.sources."my web"]\nurl = "tcp://localhost:9090"\nroute = "relay"\n[relay]\ntoken = "secret"\n'
      })
      assert.strictEqual(
        yield* printedBy("--print", join(path, "base.toml"), join(path, "more.toml")),
        `log-level = "info"
log-format = "text"

[relay]
proxy = "environment"
transport = "auto"
handshake-idle-timeout = "5s"
control-addr = "localhost:19189"
token = "(hidden)"

[[relay.ingress]]
addr = ":19191"
hostports = [ "localhost:19191" ]

[client]
proxy = "http://(hidden)@h:1"
transport = "auto"
handshake-idle-timeout = "1m30s"
server-addr = "127.0.0.1:19190"
direct-addr = ":19192"
nat-pmp = "system"
relay-encryptions = [ "tls", "dhxcp" ]
token = "(hidden)"

[client.sources."my web"]
route = "relay"
transport = "auto"
relay-encryptions = [ "tls", "dhxcp" ]
url = "tcp://localhost:9090"`
      )
    })
  )
})

describe("printed settings", () => {
  const cases = golden.cases.filter(
    ({ result, command, flags }) => result.ok && command !== "check" && flags === undefined
  )

  it("mean the same when they are read again", () => {
    assert.isAbove(cases.length, 100)
    for (const { id, command, files } of cases) {
      const role = command as RoleName
      const sources = files.map(({ name, toml }) =>
        Result.getOrThrowWith(parseFile(name, toml!), (reasons) => new Error(`${id}: ${reasons}`))
      )
      const again = Result.getOrThrowWith(
        parseFile("printed.toml", printed(sources, [role])),
        (reasons) => new Error(`${id}: ${reasons}\n${printed(sources, [role])}`)
      )
      assert.deepEqual(parse(printed([again], [role])), parse(printed(sources, [role])), `case ${id}`)
    }
  })
})
