/**
 * Configurations that cannot be, each with all that is said about it: the cases are in badSettings.txt.
 *
 * A case is a paragraph: the text of `a.toml`, other files after their names (`--- b.toml`), and the lines on stderr after
 * `> `. It is for the command above it (`$ connet server`), which gets a `--config` for each TOML file. `./` is the folder of
 * the case, where certificates and keys are, too.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Fiber } from "effect"
import { folder } from "../config/golden.ts"
import { connet, countSockets } from "./commandLine.ts"
import { homeIn } from "./roles.ts"

interface Case {
  readonly args: ReadonlyArray<string>
  readonly files: ReadonlyMap<string, string>
  readonly says: ReadonlyArray<string>
}

const parseCase = (paragraph: string, args: ReadonlyArray<string>): Case => {
  const files = new Map<string, string>()
  const says: Array<string> = []
  let file = "a.toml"
  for (const line of paragraph.split("\n")) {
    if (line.startsWith("> ")) says.push(line.slice(2))
    else if (line.startsWith("--- ")) file = line.slice(4)
    else files.set(file, `${files.get(file) ?? ""}${line}\n`)
  }
  return { args, files, says }
}

/** The cases below each heading. */
const sections = readFileSync(join(import.meta.dirname, "badSettings.txt"), "utf8")
  .split(/^=== /m)
  .slice(1)
  .map((section) => {
    const [heading = "", ...paragraphs] = section.trimEnd().split("\n\n")
    let args: ReadonlyArray<string> = []
    const cases: Array<Case> = []
    for (const paragraph of paragraphs) {
      if (paragraph.startsWith("$ connet")) args = paragraph.split(" ").slice(2)
      else cases.push(parseCase(paragraph, args))
    }
    return { heading, cases }
  })

const certs: ReadonlyArray<{ name: string; cert_pem: string; key_pem: string }> = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "fixtures", "certs.json"), "utf8")
).certs
const pemOf = (name: string) => certs.find((certificate) => certificate.name === name)!
const block = (label: string) => `-----BEGIN ${label}-----\nAAAA\n-----END ${label}-----\n`

/** What is in the folder of every case. */
const FILES = {
  "ca.crt": pemOf("root-a").cert_pem,
  "server.crt": pemOf("server-a").cert_pem,
  "server.key": pemOf("server-a").key_pem,
  "chain.crt": pemOf("root-a").cert_pem + pemOf("server-a").cert_pem,
  "other.key": pemOf("server-relay").key_pem,
  "locked.key": block("ENCRYPTED PRIVATE KEY"),
  "cut.key": block("PRIVATE KEY"),
  "cut.crt": block("CERTIFICATE"),
  words: "no PEM here\n"
}

/** Runs a case in a folder of its own. */
const runCase = Effect.fnUntraced(function* ({ args, files }: Omit<Case, "says">) {
  const path = yield* folder(FILES)
  const inFolder = (text: string) => text.replaceAll("./", `${path}/`)
  for (const [name, text] of files) writeFileSync(join(path, name), inFolder(text))
  const configs = [...files.keys()].filter((name) => name.endsWith(".toml"))
  const { code, stderr } = yield* connet(
    ...args.map(inFolder),
    ...configs.flatMap((name) => ["--config", join(path, name)])
  ).pipe(Effect.provideService(ConfigProvider.ConfigProvider, homeIn(path)))
  return { code, stderr: stderr.replaceAll(new RegExp(`${path}/([a-z]+\\.toml)`, "g"), "$1").replaceAll(path, ".") }
})

for (const { heading, cases } of sections) {
  describe(`${heading}: what cannot be is told before any socket is opened`, () => {
    for (const { says, ...given } of cases) {
      it.effect(says.join(" | "), () =>
        Effect.gen(function* () {
          const sockets = yield* countSockets
          assert.deepEqual(yield* runCase(given), { code: 1, stderr: `connet: ${says.join("\n")}\n` })
          assert.strictEqual(sockets(), 0)
        })
      )
    }
  })
}

it.live("sockets that a role opens are counted", () =>
  Effect.gen(function* () {
    const sockets = yield* countSockets
    const toml = '[server]\ningress = [{ addr = "127.0.0.1:0" }]\nrelay-ingress = [{ addr = "127.0.0.1:0" }]\n'
    const args = ["server", "--cert-file", "./server.crt", "--key-file", "./server.key"]
    const server = yield* Effect.forkChild(runCase({ args, files: new Map([["a.toml", toml]]) }))
    while (sockets() < 4) yield* Effect.sleep("5 millis")
    yield* Fiber.interrupt(server)
  })
)
