/** Hosts whose firewalls drop UDP, or let nothing through but a proxy. */
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ownNamespaces } from "./Lab.ts"
import { lacks } from "./programs.ts"
import { microsocks, tinyproxy } from "./proxies.ts"
import { makeStage } from "./stage.ts"

/** From when a source listens to its first answer, in milliseconds. */
const firstByte = Effect.fnUntraced(function* (stage: Effect.Success<ReturnType<typeof makeStage>>) {
  const { destination } = yield* stage.startOthers
  yield* destination.says("endpoint.online")
  const source = yield* stage.startSource()
  yield* source.says("source.listening")
  const began = performance.now()
  yield* stage.visit("first", source)
  return { source, destination, millis: performance.now() - began }
})

afterAll(() => {
  assert.deepStrictEqual(ownNamespaces(), [])
})

describe.skipIf(lacks("tunnels without UDP", { programs: ["ip", "nft"], root: true }))("where UDP is dropped", () => {
  it.live(
    "everything goes over TCP, soon; and over QUIC again when UDP passes, without a failed request",
    () =>
      Effect.gen(function* () {
        const stage = yield* makeStage()
        const { server, left, right } = stage
        for (const host of [server, left, right]) yield* host.blockUdp()
        const { source, destination, millis } = yield* firstByte(stage)
        for (const client of [source, destination]) {
          yield* client.says(/server\.online .*carrier=tcp/)
          yield* client.says(/relay\.online .*carrier=tcp/)
          yield* client.says(/path\.open .*carrier=tcp/)
          assert.notInclude(client.log(), "carrier=quic")
        }
        yield* stage.visit("second", source)
        yield* source.says(new RegExp(`path\\.selected .*address=${left.address}`))
        process.stdout.write(`lab: the first byte came after ${Math.round(millis)} ms without UDP\n`)
        // A quarter of a second is the head start of QUIC; its handshake would be given up after five.
        assert.isBelow(millis, 4_000)

        for (const host of [server, left, right]) yield* host.unblockUdp
        const began = performance.now()
        const isBack = () =>
          [source, destination].every(({ log }) => /server\.moved .*carrier=quic/.test(log())) &&
          /path\.open .*carrier=quic/.test(source.log())
        while (!isBack()) {
          yield* stage.visit("meanwhile", source)
          assert.isBelow(performance.now() - began, 60_000, source.log())
        }
        process.stdout.write(`lab: back on QUIC after ${Math.round(performance.now() - began)} ms\n`)
        yield* stage.visit("afterwards", source)
      }),
    120_000
  )
})

const PROXIES = {
  tinyproxy: { start: tinyproxy, scheme: "http", by: "setting" },
  microsocks: { start: microsocks, scheme: "socks5", by: "environment" }
} as const

describe("where only a proxy leads out", () => {
  for (const [program, { start, scheme, by }] of Object.entries(PROXIES)) {
    const lacking = lacks(`tunnels through ${program}`, { programs: ["ip", "nft", program], root: true })
    it.live.skipIf(lacking)(
      `a client works through ${program}, which its ${by} names`,
      () =>
        Effect.gen(function* () {
          // The address and port of the proxy are known only in the lab.
          const stage = yield* makeStage(by === "setting" ? { source: 'proxy = "http://10.77.4.2:8888"' } : {})
          const { right, middle, startOthers, startSource, visit } = stage
          const port = yield* start({ port: 8_888 }, middle)
          const url = `${scheme}://${middle.address}:${port}`
          yield* right.allowOnly({ address: middle.address, port })
          yield* startOthers
          const source = yield* by === "setting" ? startSource() : startSource(`ALL_PROXY=${url}`)
          yield* source.says(/server\.online .*carrier=tcp/)
          yield* visit("out", source)
          yield* source.says(/path\.selected .*direction=relay/)
          assert.notInclude(source.log(), "carrier=quic")
          assert.include(source.log(), `address=${middle.address}:${port} carrier=tcp`)
        }),
      60_000
    )
  }
})
