/** First contact as three devices have it: nothing but the link, no port chosen, and no path but through the relay. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { startProcess } from "../cli/Process.ts"
import { folder } from "../config/golden.ts"
import { makeLab, ownNamespaces } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { startEcho, visitFrom } from "./scripts.ts"

const lacking = lacks("first contact in a lab", { programs: ["ip", "nft"], root: true })

describe.skipIf(lacking)("first contact of three hosts", () => {
  afterAll(() => {
    assert.deepStrictEqual(ownNamespaces(), [])
  })

  it.live(
    "needs no settings: the link names the server's address, where clients find the relay, too",
    () =>
      Effect.gen(function* () {
        const { server, left, right } = yield* makeLab(["server", "left", "right"])
        yield* left.block(right.address)
        yield* startEcho(left, 8_080)
        const [at, offered, used] = [yield* folder({}), yield* folder({}), yield* folder({})]
        const running = yield* startProcess(["server"], at, server.inside)
        const link = yield* running.prints
        assert.include(link, `@${server.address}:19190?pin=`)
        yield* startProcess(["--server", link, "--expose", "web=8080"], offered, left.inside)
        const source = yield* startProcess(["--server", link, "--use", "web=9000"], used, right.inside)
        yield* source.says("relay.online")
        yield* source.says("peer.met")
        const visited = yield* visitFrom(right, { address: "127.0.0.1", port: 9_000, text: "hello" })
        assert.strictEqual(visited.reply, "hello\n", `${visited.failed}\n${source.log()}`)
      }),
    60_000
  )
})
