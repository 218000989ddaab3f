import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { issueServer } from "../../src/certs/issue.ts"
import { splice } from "../../src/internal/splice.ts"
import * as Memory from "../../src/transport/memory/Memory.ts"
import { Transport, type TransportStream } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

const HERE = { host: "127.0.0.1", port: 0 }

/** Two ends of one connection over real TCP. */
const tcp = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = createServer({ allowHalfOpen: true }).listen(HERE)
    await once(server, "listening")
    const { port } = server.address() as AddressInfo
    const far = connect({ port, host: HERE.host, allowHalfOpen: true })
    const [[near]] = await Promise.all([once(server, "connection") as Promise<[Socket]>, once(far, "connect")])
    server.close()
    for (const socket of [near, far]) socket.on("error", () => {})
    return { near, far }
  }),
  ({ near, far }) =>
    Effect.sync(() => {
      near.destroy()
      far.destroy()
    })
)

/** Two ends of one stream of a transport. */
const stream = Effect.gen(function* () {
  const transport = yield* Transport
  const identity = yield* issueServer(["splice.test"])
  const [server, client] = [yield* transport.bind({ address: HERE }), yield* transport.bind({ address: HERE })]
  const listener = yield* server.listen({ protocols: ["splice"], identity, trust: Trust.anyone })
  const dialed = yield* client.dial({
    address: server.address,
    protocols: ["splice"],
    trust: Trust.anyone,
    timeout: "5 seconds"
  })
  const accepted = yield* listener.accept
  const near = yield* dialed.open
  near.write("")
  near.write("!")
  const far = yield* accepted.accept
  yield* Effect.promise(() => once(far, "readable"))
  assert.strictEqual(String(far.read()), "!")
  return { near, far }
}).pipe(Effect.provide(Layer.fresh(Memory.layer())))

/** user — left ‖ right — service, with `‖` the splice. */
const joined = <A extends { near: Duplex }, B extends { near: Duplex }>(left: A, right: B) => {
  const done = new Promise<Error | undefined>((resolve) => {
    splice(left.near, right.near, resolve)
  })
  return done
}

/** Everything until the end of the read half; the write half is left alone. */
const collect = (from: Duplex, each: (part: Buffer) => void) =>
  new Promise<void>((resolve, reject) => {
    from.on("data", each).once("end", resolve).once("error", reject)
  })

const text = async (from: Duplex) => {
  let all = ""
  await collect(from, (part) => {
    all += part
  })
  return all
}

/** The code of the error that a side ends with. */
const failure = (side: Duplex) =>
  new Promise<string | undefined>((resolve) => {
    side.on("error", (error: NodeJS.ErrnoException) => resolve(error.name === "Error" ? error.code : error.name))
    side.on("end", () => resolve("ended as if all were well"))
    side.resume()
  })

const PLUMBING = ["data", "drain", "pipe", "unpipe", "finish", "end", "readable"]
const plumbing = (side: Duplex) => PLUMBING.filter((event) => event !== "end" && side.listenerCount(event) > 0)

describe("splice", () => {
  it.live("carries what is said after the end of the other direction, both ways round", () =>
    Effect.gen(function* () {
      for (const first of ["user", "service"] as const) {
        const [left, right] = [yield* tcp, yield* tcp]
        const done = joined(left, right)
        const [early, late] = first === "user" ? [left.far, right.far] : [right.far, left.far]
        yield* Effect.promise(async () => {
          early.end("question")
          assert.strictEqual(await text(late), "question")
          late.end("answer")
          assert.strictEqual(await text(early), "answer")
          assert.isUndefined(await done)
        })
        assert.deepStrictEqual([...plumbing(left.near), ...plumbing(right.near)], [])
      }
    })
  )

  it.live("carries 32 MiB both ways at once without changing a byte", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* tcp, yield* stream]
      const done = joined(left, right)
      const bytes = randomBytes(32 * 1024 * 1024)
      const received = async (side: Duplex) => {
        const hash = createHash("sha256")
        await collect(side, (part) => hash.update(part))
        return hash.digest("hex")
      }
      yield* Effect.promise(async () => {
        left.far.end(bytes)
        right.far.end(bytes)
        const hashes = await Promise.all([received(left.far), received(right.far)])
        const expected = createHash("sha256").update(bytes).digest("hex")
        assert.deepStrictEqual(hashes, [expected, expected])
        assert.isUndefined(await done)
      })
    })
  )

  it.live("makes a reset of one side a reset of the other, in both directions", () =>
    Effect.gen(function* () {
      for (const dying of ["left", "right"] as const) {
        const sides = { left: yield* tcp, right: yield* tcp }
        const done = joined(sides.left, sides.right)
        const other = sides[dying === "left" ? "right" : "left"].far
        sides[dying].far.resetAndDestroy()
        assert.strictEqual(yield* Effect.promise(() => failure(other)), "ECONNRESET")
        assert.instanceOf(yield* Effect.promise(() => done), Error)
        assert.isTrue(sides.left.near.destroyed && sides.right.near.destroyed)
      }
    })
  )

  it.live("makes a reset of a user a reset of the stream, and a reset of the stream one of the user", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* tcp, yield* stream]
      joined(left, right)
      left.far.resetAndDestroy()
      assert.strictEqual(yield* Effect.promise(() => failure(right.far)), "StreamReset")

      const [user, tunnel] = [yield* tcp, yield* stream]
      joined(user, tunnel)
      tunnel.far.reset(0)
      assert.strictEqual(yield* Effect.promise(() => failure(user.far)), "ECONNRESET")
    })
  )

  it.live("delivers the last bytes of a side that only stopped reading, then closes", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* tcp, yield* stream]
      const done = joined(left, right)
      const far = right.far as TransportStream
      far.stop(0)
      far.end("last words")
      assert.strictEqual(yield* Effect.promise(() => text(left.far)), "last words")
      yield* Effect.promise(() => done)
      assert.isTrue(left.near.destroyed && right.near.destroyed)
    })
  )

  it.live("does not read for a side that does not take it, and goes on when it does", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* tcp, yield* stream]
      const done = joined(left, right)
      const total = 64 * 1024 * 1024
      const chunk = Buffer.alloc(64 * 1024)
      let accepted = 0
      let stalled: (() => void) | undefined
      const stalling = new Promise<void>((resolve) => {
        stalled = resolve
      })
      const write = (): void => {
        while (accepted < total) {
          accepted += chunk.length
          if (!left.far.write(chunk)) {
            // Nothing has moved for this long, although there is more: the other end pushes back.
            const timer = setTimeout(() => stalled?.(), 200)
            left.far.once("drain", () => {
              clearTimeout(timer)
              write()
            })
            return
          }
        }
        left.far.end()
      }
      yield* Effect.promise(async () => {
        write()
        await stalling
        assert.isBelow(accepted, total / 2)
        assert.isAtMost(right.near.writableLength + left.near.readableLength, 512 * 1024)
        let received = 0
        await collect(right.far, (part) => {
          received += part.length
        })
        assert.strictEqual(received, total)
        right.far.end()
        left.far.resume()
        assert.isUndefined(await done)
      })
    })
  )

  it.live("cuts both sides when it is told to, and when one of them was gone before it began", () =>
    Effect.gen(function* () {
      const [left, right] = [yield* tcp, yield* tcp]
      const ended = new Promise<void>((resolve) => {
        splice(left.near, right.near, () => resolve())()
      })
      const ends = yield* Effect.promise(() => Promise.all([failure(left.far), failure(right.far)]))
      assert.deepStrictEqual(ends, ["ECONNRESET", "ECONNRESET"])
      yield* Effect.promise(() => ended)

      const [gone, there] = [yield* tcp, yield* tcp]
      gone.near.destroy()
      yield* Effect.promise(() => once(gone.near, "close"))
      const done = joined(gone, there)
      assert.strictEqual(yield* Effect.promise(() => failure(there.far)), "ECONNRESET")
      yield* Effect.promise(() => done)
    })
  )
})
