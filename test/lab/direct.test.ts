/** Server, destination and source on hosts of their own: directly where they may, through the relay where they may not. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ownNamespaces } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { startNatPmp } from "./scripts.ts"
import { makeStage } from "./stage.ts"

const lacking = lacks("tunnels in labs", { programs: ["ip", "nft"], root: true })

describe.skipIf(lacking)("clients on hosts of their own", () => {
  afterAll(() => {
    assert.deepStrictEqual(ownNamespaces(), [])
  })

  it.live(
    "meet directly, both listening on a wildcard address",
    () =>
      Effect.gen(function* () {
        const { left, start, visit } = yield* makeStage()
        const source = yield* start
        yield* source.says(new RegExp(`path\\.open .*direction=(incoming|outgoing) .*address=${left.address}:`))
        const millis = yield* visit("directly", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${left.address}:\\d+ direction=(incoming|outgoing)`))
        process.stdout.write(`lab: the first byte came after ${Math.round(millis)} ms, directly\n`)
      }),
    60_000
  )

  it.live(
    "go through the relay while a firewall drops everything between them, and directly when it does not any more",
    () =>
      Effect.gen(function* () {
        const { server, left, right, start, visit } = yield* makeStage()
        yield* left.block(right.address)
        const source = yield* start
        yield* source.says("peer.met")
        const millis = yield* visit("around", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${server.address}:\\d+ direction=relay`))
        assert.notInclude(source.log(), "path.open")
        process.stdout.write(`lab: the first byte came after ${Math.round(millis)} ms, through the relay\n`)

        yield* left.unblock
        yield* source.says("path.open")
        yield* visit("directly", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${left.address}:\\d+ direction=(incoming|outgoing)`))
      }),
    60_000
  )

  it.live(
    "meet where the router of one forwards its port, each behind a NAT that no hole is punched in",
    () =>
      Effect.gen(function* () {
        const { server, left, right, startOthers, startSource, visit } = yield* makeStage({ natPmp: "system" })
        yield* Effect.all([left.hide, right.hide])
        const outside = server.gateway.address
        const router = yield* startNatPmp("left", left.gateway, outside)
        const { destination } = yield* startOthers
        yield* destination.says(`portmap.open protocol=udp external=${outside}:40000 lifetimeSeconds=600`)
        yield* destination.says(`portmap.open protocol=tcp external=${outside}:40001 lifetimeSeconds=600`)
        const source = yield* startSource()
        yield* source.says(new RegExp(`path\\.open .*direction=outgoing carrier=quic address=${outside}:40000`))
        yield* source.says(new RegExp(`path\\.open .*direction=outgoing carrier=tcp address=${outside}:40001`))
        yield* visit("through the router", source)
        yield* destination.stop("SIGTERM")
        yield* router.says("flush chain")
      }),
    60_000
  )
})
