/** Every block of the documents is checked or run: nobody adds one that is neither. */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Result } from "effect"
import manifest from "#package.json" with { type: "json" }
import { issueServer } from "../../src/certs/issue.ts"
import { parseFile } from "../../src/config/loadFiles.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import { parseServerLink } from "../../src/config/ServerLink.ts"
import { connet } from "../cli/commandLine.ts"
import { misread } from "../cli/misread.ts"
import { example } from "../cli/Tunnel.ts"
import { folder } from "../config/golden.ts"
import { FOLDERS, isInstalled, lacks } from "../lab/programs.ts"
import { type Block, blocks, codes, DOCUMENTS, events, ROOT, read, tableBelow } from "./documents.ts"

const BLOCKS = DOCUMENTS.flatMap(blocks)
const placeOf = ({ document, line }: Block) => `${document}:${line}`
const of = (language: string) => BLOCKS.filter((block) => block.language === language)

const execute = (program: string, args: ReadonlyArray<string>, cwd = tmpdir()) =>
  Effect.promise(() =>
    promisify(execFile)(program, [...args], { cwd, timeout: 20_000, env: { ...process.env, PATH: FOLDERS.join(":") } })
  )

/** The examples, with a certificate and all that examples name. */
const examples = Effect.gen(function* () {
  const { certificatePem, privateKeyPem } = yield* issueServer(["localhost"])
  const files = readdirSync(join(ROOT, "config")).map((name) => [name, example(name)] as const)
  return yield* folder({
    ...Object.fromEntries(files),
    "server.crt": certificatePem,
    "server.key": Redacted.value(privateKeyPem)
  })
})

/** Settings with files that are there in place of those that they name. */
const withFiles = (text: string, path: string) =>
  text.replaceAll(/^(\S*(key|tokens?|cert|cas)-file) = "[^"]*"/gm, (_, key, kind) => {
    const name = kind === "key" ? "server.key" : kind.startsWith("token") ? "tokens" : "server.crt"
    return `${key} = ${JSON.stringify(join(path, name))}`
  })

/** The commands of a block as the shell reads them; none of them is run. */
const commandsIn = Effect.fnUntraced(function* ({ text }: Block) {
  const path = yield* folder({})
  const script = text.replaceAll("/opt/connet/bin/connet", "connet")
  const record = 'command_not_found_handle() { printf "%s\\0" "$@" "" >&3; }\nexec 3>"$1" >/dev/null\nPATH=/nowhere\n'
  writeFileSync(join(path, "script"), `${record}${script}`)
  yield* execute("bash", [join(path, "script"), join(path, "commands")], path)
  const words = readFileSync(join(path, "commands"), "utf8").split("\0")
  const commands: Array<Array<string>> = [[]]
  for (const word of words.slice(0, -1)) {
    if (word === "") commands.push([])
    else commands.at(-1)!.push(word)
  }
  return commands.filter((command) => command.length > 0)
})

/** What is run as it is written: it needs nobody, and ends by itself. */
const isRunnable = ([program, verb]: ReadonlyArray<string>) =>
  program === "openssl" ||
  program === "sha256sum" ||
  (program === "connet" && ["check", "token", "gen-key", "version", "completion"].includes(verb!))

const PORTS = /\b(19190)[:-](19191)\b/
const PORT_ROWS = new Set(tableBelow("docs/hosting.md", "Ports").map(([port]) => /^\d+/.exec(port!)?.[0]))

/** What must hold of a command of another program. */
const OTHERS: Readonly<Record<string, (args: ReadonlyArray<string>, block: Block) => boolean>> = {
  openssl: () => true,
  sha256sum: () => true,
  npm: ([verb, name = ""], block) =>
    verb === "run"
      ? name in manifest.scripts
      : verb !== "install" || block.text.includes(`./connet-${manifest.version}.tgz`),
  npx: ([tool]) => isInstalled(tool!) || readdirSync(join(ROOT, "node_modules", ".bin")).includes(tool!),
  // The port of a listener that stands in the same document.
  curl: (args, { document }) => {
    const { port } = new URL(args.at(-1)!)
    return blocks(document).some(({ text }) => new RegExp(`(=|:)${port}("|$)`, "m").test(text))
  },
  ufw: (args) =>
    PORTS.exec(args.join(" "))!
      .slice(1)
      .every((port) => PORT_ROWS.has(port)),
  nft: (args) =>
    PORTS.exec(args.join(" "))!
      .slice(1)
      .every((port) => PORT_ROWS.has(port)),
  sysctl: (args) => args.slice(1).every((arg) => /^net\.core\.[rw]mem_max=8388608$/.test(arg)),
  // Of these the words were tried by hand.
  certbot: () => true,
  systemctl: () => true,
  journalctl: () => true,
  jq: () => true,
  "apt-get": () => true
}

describe("blocks of the documents", () => {
  it("are all of a language that is checked", () => {
    const known = ["toml", "sh", "text", "json", "nginx", "haproxy", "ini"]
    const unchecked = BLOCKS.filter(({ language, text }) => !known.includes(language) && !/[┌│►]/.test(text))
    assert.deepEqual(unchecked.map(placeOf), [])
    assert.isAbove(BLOCKS.length, 50)
  })

  it.effect("of settings are all that a role needs, but for the files that they name; so are the examples", () =>
    Effect.gen(function* () {
      const path = yield* examples
      const names = readdirSync(join(ROOT, "config")).filter((name) => name.endsWith(".toml"))
      const all = [
        ...of("toml").map((block) => [placeOf(block), block.text] as const),
        ...names.map((name) => [name, example(name)] as const)
      ]
      mkdirSync(join(path, "checked"))
      for (const [index, [place, text]] of all.entries()) {
        const file = join(path, "checked", `${index}.toml`)
        writeFileSync(file, withFiles(text, path))
        const { code, stderr } = yield* connet("check", file)
        assert.deepEqual(
          { place, code, stderr: stderr.includes("connet:") ? stderr : "" },
          { place, code: 0, stderr: "" }
        )
      }
    })
  )

  for (const block of of("sh")) {
    it.live(`hold commands that are there: ${placeOf(block)}`, () =>
      Effect.gen(function* () {
        for (const [program = "", ...args] of yield* commandsIn(block)) {
          const command = [program, ...args].join(" ")
          if (program === "connet") assert.isUndefined(yield* misread(args), command)
          else assert.isTrue(OTHERS[program]?.(args, block), `${command}: nothing checks it`)
        }
      })
    )
  }

  it.effect("and the lines around them name commands and flags that are there", () =>
    Effect.gen(function* () {
      // The protocol has texts that begin in the same way.
      const named = DOCUMENTS.filter((document) => document !== "docs/protocol.md").flatMap((document) =>
        codes(read(document).replaceAll(/^ *```.*?^ *```$/gms, ""))
      )
      const commands = named.filter((code) => /^connet (-|[a-z])/.test(code) && !/…|--help|^connet needs/.test(code))
      assert.isAbove(commands.length, 10)
      for (const command of commands) {
        const wrong = yield* misread(command.split(" ").slice(1))
        // Where a command is only named, its arguments need not be there.
        if (wrong?.includes("MissingArgument") !== true) assert.isUndefined(wrong, command)
      }
    })
  )

  it.live.skipIf(lacks("commands of the documents", { programs: ["openssl", "sha256sum"] }))(
    "that need nobody run as they are written",
    () =>
      Effect.gen(function* () {
        const path = yield* examples
        const bin = [process.execPath, join(ROOT, "src", "bin.ts")].map((word) => JSON.stringify(word)).join(" ")
        const runnable: Array<Block> = []
        for (const block of of("sh")) {
          const commands = yield* commandsIn(block)
          if (commands.length > 0 && commands.every(isRunnable)) runnable.push(block)
        }
        const script = runnable.map(({ text }) => text).join("\n")
        const { stdout } = yield* execute("bash", ["-ec", `connet() { ${bin} "$@"; }\n${script}`], path)
        assert.isAbove(runnable.length, 3)
        assert.match(stdout, /^[0-9a-f]{48}$/m)
        assert.include(stdout, createHash("sha256").update("replace-this-token").digest("hex"))
        assert.include(stdout, 'metadata = "a laptop"')
        assert.match(stdout, /^ENTRY: {2}sha256:[0-9a-f]{64} name=laptop$/m)
      }),
    30_000
  )

  it("of JSON that show a status have its keys only", () => {
    const source = readdirSync(join(ROOT, "src", "status")).map((name) => read(join("src", "status", name)))
    const named = new Set(["web"])
    const keysIn = (value: unknown): ReadonlyArray<string> =>
      typeof value !== "object" || value === null
        ? []
        : Object.entries(value).flatMap(([key, item]) => [...(Array.isArray(value) ? [] : [key]), ...keysIn(item)])
    const shown = of("json").filter(({ document }) => document === "docs/operate.md")
    assert.lengthOf(shown, 1)
    for (const key of keysIn(JSON.parse(shown[0]!.text))) {
      if (named.has(key) || key.endsWith("…")) continue
      assert.match(source.join("\n"), new RegExp(`\\b${key}\\b`))
    }
  })

  it("of text are links, messages that other tests compare, or lines of the log", () => {
    const known = new Set(events().map(({ event }) => event))
    for (const block of [...of("text"), ...of("json")]) {
      if (["docs/access.md", "docs/config.md", "docs/operate.md"].includes(block.document)) continue
      for (const line of block.text.trimEnd().split("\n")) {
        if (line.startsWith("connet://")) assert.isTrue(Result.isSuccess(parseServerLink(line)), line)
        else {
          const event = line.startsWith("{") ? JSON.parse(line).message : /^(?:\S+Z )?[a-z]+ +(\S+)/.exec(line)?.[1]
          assert.isTrue(known.has(event), `${placeOf(block)}: ${line}`)
        }
      }
    }
  })

  it.effect("of a tokens file are three rules", () =>
    Effect.gen(function* () {
      const [shown] = of("text").filter(({ document }) => document === "docs/access.md")
      const file = join(yield* folder({ tokens: shown!.text }), "tokens")
      const toml = `[server]\ntokens-file = ${JSON.stringify(file)}\nstore-dir = "."\n`
      const { tokens } = yield* serverConfig([Result.getOrThrow(parseFile("server.toml", toml))])
      assert.deepEqual(
        tokens.map(({ name }) => name),
        ["office", "anna", "ci"]
      )
    })
  )
})
