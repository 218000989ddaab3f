import { createSocket, type Socket } from "node:dgram"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Queue, References } from "effect"
import { TestClock } from "effect/testing"
import { layer } from "../../../src/transport/quic/Quic.ts"
import { dropsOf, notice, type Told, watchDrops } from "../../../src/transport/quic/socketDrops.ts"
import { Transport } from "../../../src/transport/Transport.ts"

/** Recorded on Linux 6.18, x86-64. */
const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops            
10010: 0100007F:9B0E 00000000:0000 07 00000000:00000680 00:00000000 00000000     0        0 24197 2 000000002e32e0b8 498       
12803: 0100007F:E5F7 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24199 2 0000000062582931 0         
`
const UDP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
 8196: 00000000000000000000000000000000:93F8 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24198 2 00000000faabead2 7
 8197: 000080FE00000000FF005450FE0C3456:93F9 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24201 2 00000000faabead3 8
`

/** What is logged in the order it is. */
const logged = Effect.map(
  Queue.unbounded<{ readonly message: unknown; readonly fields: Readonly<Record<string, unknown>> }>(),
  (queue) => {
    const log = Logger.make<unknown, void>(({ message, fiber }) => {
      Queue.offerUnsafe(queue, { message, fields: fiber.getRef(References.CurrentLogAnnotations) })
    })
    return { next: Queue.take(queue), count: Queue.size(queue), logger: Logger.layer([log]) }
  }
)

/** Sends that are over before anybody in this process can read. */
const flood = (port: number, packets: number) =>
  Effect.acquireUseRelease(
    Effect.callback<Socket>((resume) => {
      const socket = createSocket({ type: "udp4", lookup: (host, _options, found) => found(null, host, 4) })
      socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
    }),
    (socket) =>
      Effect.sync(() => {
        for (let sent = 0; sent < packets; sent++) socket.send(Buffer.alloc(100), port, "127.0.0.1")
      }),
    (socket) => Effect.sync(() => socket.close())
  )

describe("packets that the kernel dropped", () => {
  it("are those of the socket with the address and port, whatever the kernel's byte order is", () => {
    assert.strictEqual(dropsOf(UDP, { host: "127.0.0.1", port: 0x9b0e }, "LE"), 498)
    assert.strictEqual(dropsOf(UDP, { host: "1.0.0.127", port: 0x9b0e }, "BE"), 498)
    assert.strictEqual(dropsOf(UDP, { host: "127.0.0.1", port: 0xe5f7 }, "LE"), 0)
    assert.isUndefined(dropsOf(UDP, { host: "127.0.0.2", port: 0x9b0e }, "LE"))
    assert.strictEqual(dropsOf(UDP6, { host: "::", port: 0x93f8 }, "LE"), 7)
    assert.strictEqual(dropsOf(UDP6, { host: "fe80::5054:ff:5634:cfe%eth0", port: 0x93f9 }, "LE"), 8)
    assert.isUndefined(dropsOf("", { host: "::", port: 0x93f8 }, "LE"))
  })

  it("are told when the counter grew, summed up and at most once an hour", () => {
    const hour = 3_600_000
    let told: Told = { drops: 0, at: undefined }
    const at = (now: number, drops: number) => {
      const [next, dropped] = notice(told, drops, now)
      told = next
      return dropped
    }
    assert.deepEqual(
      [at(10, 0), at(20, 5), at(30, 6), at(hour, 9), at(20 + hour, 9), at(30 + hour, 9), at(40 + 2 * hour, 10)],
      [0, 5, 0, 0, 4, 0, 1]
    )
  })

  if (process.platform === "linux") {
    it.effect("are told with the socket, its buffer and what to do", () =>
      Effect.gen(function* () {
        const { next, count, logger } = yield* logged
        yield* Effect.gen(function* () {
          const { address } = yield* (yield* Transport).bind({ address: { host: "127.0.0.1", port: 0 } })
          yield* flood(address.port, 500)
          yield* TestClock.adjust("10 seconds")
          const { message, fields } = yield* next
          assert.deepEqual(message, ["socket.drops"])
          const { address: at, dropped, buffer, hint } = fields
          assert.strictEqual(at, `127.0.0.1:${address.port}`)
          assert.isAbove(Number(dropped), 0)
          assert.isBelow(Number(buffer), 10_000)
          assert.strictEqual(
            hint,
            'run "sysctl -w net.core.rmem_max=8388608", set tuning.receive-buffer to 8388608, and start connet again'
          )
          assert.strictEqual(yield* count, 0)
        }).pipe(Effect.scoped, Effect.provide([layer({ receiveBufferBytes: 1 }), logger]))
      })
    )

    it.effect("call for the system's limit alone where that is lower than what was asked for", () =>
      Effect.gen(function* () {
        const { next, logger } = yield* logged
        yield* Effect.gen(function* () {
          const { address } = yield* (yield* Transport).bind({ address: { host: "127.0.0.1", port: 0 } })
          yield* flood(address.port, 500)
          yield* Effect.forkScoped(watchDrops({ address, wantedBytes: 9_000_000, grantedBytes: 8_388_608 }), {
            startImmediately: true
          })
          yield* TestClock.adjust("10 seconds")
          const hints = [(yield* next).fields.hint, (yield* next).fields.hint]
          assert.include(
            hints,
            'run "sysctl -w net.core.rmem_max=16777216" and start connet again, because the system granted less than tuning.receive-buffer asks for'
          )
        }).pipe(Effect.scoped, Effect.provide([layer({ receiveBufferBytes: 1 }), logger]))
      })
    )
  }
})
