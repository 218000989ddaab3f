/** A tunnel from empty folders, with nothing but the link that the server prints. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { folder } from "../config/golden.ts"
import { type Process, startProcess } from "./Process.ts"
import { service, works } from "./Tunnel.ts"

const serverAt = (address: string) => ["server", "--addr", address, "--relay-addr", "127.0.0.1:0"]
const EVERYTHING = ["--log-level", "fine"]
const ANYWHERE = "web=127.0.0.1:0"

const folders = Effect.gen(function* () {
  const path = yield* folder({})
  const names = ["server", "left", "right"] as const
  for (const name of names) mkdirSync(join(path, name))
  return Object.fromEntries(names.map((name) => [name, join(path, name)])) as Record<(typeof names)[number], string>
})

const fingerprintIn = (link: string) => /pin=([0-9a-f]{64})$/.exec(link)![1]!

describe("first contact", () => {
  it.live(
    "two commands with the link of a server are a tunnel, the link stays the same, and no log has its secrets",
    () =>
      Effect.gen(function* () {
        const at = yield* folders
        const port = yield* service
        const server = yield* startProcess([...serverAt("127.0.0.1:0"), ...EVERYTHING], at.server)
        const link = yield* server.prints
        assert.match(link, /^connet:\/\/[0-9a-v]{52}@127\.0\.0\.1:\d+\?pin=[0-9a-f]{64}$/)

        const left = yield* startProcess(["--server", link, "--expose", `web=${port}`, ...EVERYTHING], at.left)
        const right = yield* startProcess(["--server", link, "--use", ANYWHERE, ...EVERYTHING], at.right)
        const logs = () => [server, left, right].map(({ log }) => log()).join("\n")
        yield* left.says("endpoint.online")
        yield* right.says("path.open")
        const [, users] = /source\.listening .*address=127\.0\.0\.1:(\d+)/.exec(right.log())!
        yield* works(Number(users), logs)
        const { privateKey } = JSON.parse(readFileSync(join(at.server, "connet", "server", "identity.json"), "utf8"))
        for (const secret of [/\/\/(.*)@/.exec(link)![1]!, privateKey.split("\n")[1]]) assert.notInclude(logs(), secret)

        yield* server.stop("SIGTERM")
        const again = yield* startProcess(serverAt(/@(.*)\?/.exec(link)![1]!), at.server)
        assert.strictEqual(yield* again.prints, link)
        for (const name of ["identity.json", "token.json"]) {
          assert.strictEqual(statSync(join(at.server, "connet", "server", name)).mode & 0o777, 0o600)
        }

        const ended = Effect.fnUntraced(function* (text: string) {
          const client = yield* startProcess(["--server", text, "--use", ANYWHERE], at.left)
          assert.strictEqual(yield* client.ended, 1, client.log())
          return sentence(client)
        })
        const wrong = link.replace(/\/\/.*@/, "//wrong@")
        assert.match(yield* ended(wrong), /refused the token: the token is not accepted; check that it is one/)

        const pin = fingerprintIn(link)
        const other = `${pin.startsWith("0") ? "1" : "0"}${pin.slice(1)}`
        const pinned = yield* startProcess(["--server", link.replace(pin, other), "--use", ANYWHERE], at.left)
        yield* pinned.says("server.unreachable")
        const warnings = pinned
          .log()
          .split("\n")
          .filter((line) => line.includes(" warn "))
        assert.lengthOf(warnings, 1, pinned.log())
        assert.lengthOf([...warnings[0]!.matchAll(new RegExp(`${pin}|${other}`, "g"))], 2, warnings[0])
      }),
    80_000
  )

  it.live(
    "with tokens of its own a server prints a link without one, and tells a client that his has expired",
    () =>
      Effect.gen(function* () {
        const at = yield* folders
        writeFileSync(join(at.server, "tokens"), "secret name=laptop expires=2020-01-31\n")
        const server = yield* startProcess([...serverAt("127.0.0.1:0"), "--tokens-file", "tokens"], at.server)
        const link = yield* server.prints
        assert.match(link, /^connet:\/\/<token>@/)
        const client = yield* startProcess(["--server", link.replace("<token>", "secret"), "--use", ANYWHERE], at.left)
        assert.strictEqual(yield* client.ended, 1)
        assert.match(sentence(client), /the token laptop expired at 2020-02-01T00:00:00\.000Z; get another one$/)
      }),
    80_000
  )
})

/** What a client said when it ended. */
const sentence = ({ log }: Process) => /^connet: (.*)$/m.exec(log())?.[1] ?? log()
