/** Blocks of the documents that other programs read: units of systemd, and configurations of front ends. */
import { spawnSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { misread } from "../cli/misread.ts"
import { folder } from "../config/golden.ts"
import { FOLDERS, lacks } from "../lab/programs.ts"
import { blocks, DOCUMENTS } from "./documents.ts"

const of = (language: string) => DOCUMENTS.flatMap(blocks).filter((block) => block.language === language)

/** Runs a program that must find nothing wrong: what it said. */
const agrees = (program: string, args: ReadonlyArray<string>): string => {
  const env = { ...process.env, PATH: FOLDERS.join(":") }
  const { status, stderr } = spawnSync(program, args, { encoding: "utf8", timeout: 20_000, env })
  assert.strictEqual(status, 0, stderr)
  return stderr
}

describe("a unit of systemd in the documents", () => {
  const skipped = lacks("units of systemd", { programs: ["systemd-analyze"] })
  for (const { document, line, text } of of("ini")) {
    const [, words = ""] = /^ExecStart=\S+\/connet (.*)$/m.exec(text) ?? []

    it.effect(`starts a command that is there, with all that it is given: ${document}:${line}`, () =>
      Effect.gen(function* () {
        assert.notStrictEqual(words, "")
        assert.isUndefined(yield* misread(words.split(" ")))
        const given = [...text.matchAll(/^LoadCredential=(.*?):/gm)].map(([, name]) => name!)
        const used = [...words.matchAll(/%d\/(\S+)/g)].map(([, name]) => name!)
        assert.sameMembers(given, used)
        assert.isNotEmpty(given)
      })
    )

    it.effect.skipIf(skipped)(`is one that systemd takes: ${document}:${line}`, () =>
      Effect.gen(function* () {
        const path = yield* folder({ "connet.service": text.replace(/^ExecStart=\S+/m, "ExecStart=/bin/true") })
        assert.notInclude(agrees("systemd-analyze", ["verify", join(path, "connet.service")]), "connet.service")
      })
    )
  }
})

describe("a front end in the documents", () => {
  const STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
  for (const { document, line, text } of of("nginx")) {
    // The module is a package of its own where it is no part of the program.
    const programs = ["nginx", ...(existsSync(STREAM) ? [] : ["nginx with its stream module"])]
    it.effect.skipIf(lacks("nginx as a front end", { programs }))(`is one that nginx takes: ${document}:${line}`, () =>
      Effect.gen(function* () {
        const path = yield* folder({})
        const file = join(path, "nginx.conf")
        writeFileSync(file, `load_module ${STREAM};\npid ${path}/pid;\nevents {}\n${text}`)
        assert.include(agrees("nginx", ["-t", "-e", "stderr", "-p", path, "-c", file]), "test is successful")
      })
    )
  }

  for (const { document, line, text } of of("haproxy")) {
    const programs = ["haproxy"]
    it.effect.skipIf(lacks("HAProxy as a front end", { programs }))(
      `is one that HAProxy takes: ${document}:${line}`,
      () =>
        Effect.gen(function* () {
          const path = yield* folder({ "haproxy.cfg": text })
          agrees("haproxy", ["-c", "-f", join(path, "haproxy.cfg")])
        })
    )
  }

  it("of each kind is there", () => {
    for (const language of ["ini", "nginx", "haproxy"]) assert.isNotEmpty(of(language))
  })
})
