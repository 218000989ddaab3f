/** The lab itself: what its firewalls let through, and that nothing of it stays. */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { startProgram } from "../cli/Process.ts"
import { type Host, makeLab, ownNamespaces } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { startEcho, visitFrom } from "./scripts.ts"

const PORT = 7

/** Checks what one host gets back from another over TCP and UDP: `x`, which it sent, or `silence`. */
const expects = (from: Host, to: Host, tcp: "x" | "silence", udp: "x" | "silence") =>
  Effect.forEach(
    [{ protocol: "tcp", expected: tcp } as const, { protocol: "udp", expected: udp } as const],
    Effect.fnUntraced(function* ({ protocol, expected }) {
      const patienceMillis = expected === "silence" ? 300 : 10_000
      const { reply, failed } = yield* visitFrom(from, {
        protocol,
        address: to.address,
        port: PORT,
        text: "x",
        patienceMillis
      })
      assert.strictEqual(failed === "timed out" ? "silence" : (reply?.trim() ?? failed), expected, protocol)
    }),
    { concurrency: 2, discard: true }
  )

describe.skipIf(lacks("labs of namespaces", { programs: ["ip", "nft"], root: true }))("a lab", () => {
  it.live(
    "has hosts that reach each other until their firewalls drop UDP, TCP, or all but one target",
    () =>
      Effect.gen(function* () {
        const { a, b, c } = yield* makeLab(["a", "b", "c"])
        yield* startEcho(b, PORT)
        yield* startEcho(c, PORT)
        yield* expects(a, b, "x", "x")
        yield* a.blockUdp()
        yield* expects(a, b, "x", "silence")
        yield* expects(c, b, "x", "x")
        yield* a.blockUdp(b.address)
        yield* expects(a, b, "x", "silence")
        yield* expects(a, c, "x", "x")
        yield* a.unblockUdp
        yield* expects(a, b, "x", "x")

        yield* a.blockAllTcpExcept(b.address, PORT)
        yield* expects(a, b, "x", "x")
        yield* expects(a, c, "silence", "x")

        yield* c.allowOnly({ address: b.address, port: PORT })
        yield* expects(c, b, "x", "silence")
        yield* expects(b, c, "silence", "silence")
      }),
    60_000
  )

  it.live("runs processes as themselves: a signal reaches them, and a command that fails says why", () =>
    Effect.gen(function* () {
      const { a } = yield* makeLab(["a"])
      const echo = yield* startProgram([...a.inside, process.execPath, "test/lab/echo.ts", String(PORT)], ".")
      yield* echo.says("listening")
      const pids = Effect.map(a.exec("ip", "netns", "pids", a.inside.at(-1)!), (text) => text.split("\n").map(Number))
      assert.include(yield* pids, echo.pid)
      yield* echo.stop("SIGTERM")
      assert.notInclude(yield* pids, echo.pid)
      const { message } = yield* Effect.flip(a.exec("ip", "link", "show", "nothing"))
      assert.match(message, /ip link show nothing: .*nothing.* does not exist/)
    })
  )

  it.live("leaves nothing behind, neither after a failure nor after the death of whoever made it", () =>
    Effect.gen(function* () {
      const { pid } = spawnSync("true")
      const orphan = `connet-lab-${pid}-1-a`
      spawnSync("ip", ["netns", "add", orphan])
      const exit = yield* Effect.exit(
        Effect.scoped(
          Effect.gen(function* () {
            const { a } = yield* makeLab(["a", "b"])
            assert.lengthOf(ownNamespaces(), 3)
            yield* startEcho(a, PORT)
            return yield* Effect.fail("on purpose")
          })
        )
      )
      assert.deepStrictEqual(exit, Exit.fail("on purpose"))
      assert.deepStrictEqual(ownNamespaces(), [])
      assert.isFalse(existsSync(`/run/netns/${orphan}`))
    })
  )
})
