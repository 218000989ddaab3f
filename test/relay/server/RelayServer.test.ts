/** A relay and the links of its clients, played by the test: who gets in. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { certificateKey } from "../../../src/certs/certificateKey.ts"
import { Alpn } from "../../../src/protocol/Alpn.ts"
import { sealAuthentication } from "../../../src/protocol/RelayControl.ts"
import type { Connection } from "../../../src/transport/Transport.ts"
import { answerTo, makeWorld, makeWorldWithRelay, passing, WEB } from "../World.ts"

const [NEW, OLD] = Alpn.relay

const closedBy = Effect.fnUntraced(function* (connection: Connection, code: number) {
  assert.deepInclude(yield* connection.closed, { _tag: "Closed", by: "peer", code })
})

describe("a link to a relay", () => {
  it.live("is let in with what control vouched for, and with nothing else", () =>
    Effect.gen(function* () {
      const { guest, dial, at, enter, theOffer, offersFor, client } = yield* makeWorldWithRelay()
      const first = yield* guest("source")
      assert.strictEqual(first.answer._tag, "Accepted")
      const somebody = yield* client
      const right = (yield* theOffer(yield* offersFor(somebody.leaf.raw, "source"))).authentication
      const forged = sealAuthentication(new Uint8Array(32), {
        endpoint: WEB,
        role: "source",
        certificateKey: certificateKey(somebody.leaf.raw)
      })
      const changed = Uint8Array.from(right)
      changed[30]! ^= 1
      const tries = [
        { shown: somebody, authentication: forged, message: /did not make/ },
        { shown: somebody, authentication: changed, message: /did not make/ },
        { shown: somebody, authentication: right.subarray(0, 24), message: /did not make/ },
        { shown: somebody, authentication: new Uint8Array(), message: /did not make/ },
        { shown: somebody, authentication: new Uint8Array(5_000), message: /longer than/ },
        { shown: yield* client, authentication: right, message: /another certificate/ },
        { shown: somebody, authentication: first.authentication, message: /another certificate/ }
      ]
      const refused = Effect.fnUntraced(function* ({ shown, authentication, message }: (typeof tries)[number]) {
        const connection = yield* dial(at.relay, Alpn.relay, shown)
        const answer = yield* enter(connection, authentication)
        assert.deepInclude(answer, { _tag: "Refused", code: 100 })
        assert.match((answer as { message: string }).message, message)
        yield* closedBy(connection, 100)
      })
      const malformed = Effect.fnUntraced(function* (bytes: string, protocol: string) {
        const connection = yield* dial(at.relay, [protocol], somebody)
        ;(yield* connection.open).write(Buffer.from(bytes, "hex"))
        yield* closedBy(connection, 100)
      })
      yield* Effect.all(
        [
          ...tries.map(refused),
          ...["0000000208ff", "00010001", "ffffffff"].map((bytes) => malformed(bytes, NEW)),
          malformed("ffffffffffffffff", OLD)
        ],
        { concurrency: "unbounded" }
      )
      assert.deepInclude(yield* answerTo(first), { _tag: "Refused", code: 500 })
    }).pipe(Effect.scoped)
  )

  it.live("must show a certificate", () =>
    Effect.gen(function* () {
      const { dial, at } = yield* makeWorldWithRelay()
      yield* closedBy(yield* dial(at.relay, Alpn.relay), 100)
    }).pipe(Effect.scoped)
  )

  it.live("is refused by a relay that never reached control", () =>
    Effect.gen(function* () {
      const { startRelay, dial, at, enter, client } = yield* makeWorld
      yield* startRelay()
      const connection = yield* dial(at.relay, Alpn.relay, yield* client)
      assert.deepInclude(yield* enter(connection, new Uint8Array(80)), { _tag: "Refused", code: 100 })
    }).pipe(Effect.scoped)
  )

  it.live("is let in by a relay that has lost control, with what control said before", () =>
    Effect.gen(function* () {
      const { guest, control, dial, at, enter } = yield* makeWorldWithRelay()
      const first = yield* guest("source")
      yield* control.stop
      const again = yield* dial(at.relay, Alpn.relay, first.identity)
      assert.strictEqual((yield* enter(again, first.authentication))._tag, "Accepted")
    }).pipe(Effect.scoped)
  )

  it.live("is closed when more comes before the hello than a hello needs", () =>
    Effect.gen(function* () {
      const { dial, at, guest, client } = yield* makeWorldWithRelay()
      const connection = yield* dial(at.relay, Alpn.relay, yield* client)
      const streams = yield* Effect.forEach(Array.from({ length: 5 }), () => connection.open)
      for (const stream of streams) stream.write(Buffer.alloc(60 * 1024))
      yield* closedBy(connection, 100)
      assert.strictEqual((yield* guest("source")).answer._tag, "Accepted")
    }).pipe(Effect.scoped)
  )

  it.effect("is closed when the hello does not come, or not to its end, within its time", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.now())
      const { dial, at, own, client } = yield* makeWorldWithRelay()
      for (const bytes of [undefined, "0000"]) {
        const connection = yield* dial(at.relay, Alpn.relay, yield* client)
        if (bytes !== undefined) (yield* connection.open).write(Buffer.from(bytes, "hex"))
        yield* passing(4_500)
        assert.isUndefined(connection.ended())
        yield* passing(2_500)
        assert.deepInclude(connection.ended(), { _tag: "Closed", by: "peer" })
      }
      assert.strictEqual(own.counts().connections, 0)
    }).pipe(Effect.scoped)
  )

  it.live("is one of so many of an address as the limit says; who leaves makes room at once", () =>
    Effect.gen(function* () {
      const { guest } = yield* makeWorldWithRelay({ limits: { linksPerAddress: 2 } })
      const [first, second] = [yield* guest("source"), yield* guest("destination")]
      assert.deepEqual([first.answer._tag, second.answer._tag], ["Accepted", "Accepted"])
      const third = yield* guest("source")
      assert.deepInclude(third.answer, { _tag: "Refused", code: 100 })
      assert.match((third.answer as { message: string }).message, /at most 2 links/)
      yield* second.connection.close(0, "")
      // The one that was refused has not read its answer yet, and does not count.
      assert.strictEqual((yield* guest("source")).answer._tag, "Accepted")
    }).pipe(Effect.scoped)
  )
})
