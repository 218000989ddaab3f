/** A host whose firewall lets it reach a proxy and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeLab } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { microsocks, tinyproxy } from "./proxies.ts"
import { startEcho, visitFrom } from "./scripts.ts"

const PORT = 7

const PROXIES = {
  http: { program: "tinyproxy", start: tinyproxy },
  socks5: { program: "microsocks", start: microsocks }
}

describe("where only a proxy leads out", () => {
  for (const [scheme, { program, start }] of Object.entries(PROXIES)) {
    const lacking = lacks(`labs with ${program}`, { programs: ["ip", "nft", program], root: true })
    it.live.skipIf(lacking)(
      `${program} carries a connection that nothing else does`,
      () =>
        Effect.gen(function* () {
          const { inside, middle, outside } = yield* makeLab(["inside", "middle", "outside"])
          yield* startEcho(outside, PORT)
          const port = yield* start({}, middle)
          yield* inside.allowOnly({ address: middle.address, port })
          const visit = { address: outside.address, port: PORT, text: "out" }
          assert.strictEqual((yield* visitFrom(inside, { ...visit, patienceMillis: 300 })).failed, "timed out")
          const { reply, failed } = yield* visitFrom(inside, {
            ...visit,
            proxy: `${scheme}://${middle.address}:${port}`
          })
          assert.strictEqual(reply, "out\n", failed)
        }),
      60_000
    )
  }
})
