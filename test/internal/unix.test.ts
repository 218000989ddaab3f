import { once } from "node:events"
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { connectUnix, listenUnix } from "../../src/internal/unix.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-unix-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

const greet = (socket: Socket) => socket.on("error", () => {}).end("hello")

const visit = (path: string) => Effect.flatMap(connectUnix(path), (socket) => Effect.promise(() => text(socket.end())))

/** A socket's file that nobody listens on, as a killed process leaves it. */
const makeStale = (path: string) =>
  Effect.promise(async () => {
    const server = createServer().listen(`${path}.before`)
    await once(server, "listening")
    // Node removes the file under the name that it was made with only.
    renameSync(`${path}.before`, path)
    server.close()
    await once(server, "close")
    assert.isTrue(existsSync(path))
  })

describe("a Unix domain socket", () => {
  it.live("is there for its owner only while it is listened on, and is removed at the end", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* listenUnix(path, greet)
          assert.strictEqual(statSync(path).mode & 0o777, 0o600)
          assert.strictEqual(yield* visit(path), "hello")
        })
      )
      assert.isFalse(existsSync(path))
    }).pipe(Effect.scoped)
  )

  it.live("replaces the one that a dead process left", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      yield* makeStale(path)
      yield* listenUnix(path, greet)
      assert.strictEqual(yield* visit(path), "hello")
    }).pipe(Effect.scoped)
  )

  it.live("leaves the one of a living process alone", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      yield* listenUnix(path, greet)
      const error = yield* Effect.flip(listenUnix(path, greet))
      assert.strictEqual(error.code, "LIVE")
      assert.strictEqual(yield* visit(path), "hello")
    }).pipe(Effect.scoped)
  )

  it.live("leaves other files alone", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "a.sock")
      writeFileSync(path, "mine")
      assert.strictEqual((yield* Effect.flip(listenUnix(path, greet))).code, "NO_SOCKET")
      assert.isTrue(existsSync(path))
    }).pipe(Effect.scoped)
  )

  it.live("says when its folder is missing, and when there is nobody to dial", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const codes = [
        (yield* Effect.flip(listenUnix(join(path, "none", "a.sock"), greet))).code,
        (yield* Effect.flip(connectUnix(join(path, "a.sock")))).code
      ]
      yield* makeStale(join(path, "b.sock"))
      codes.push((yield* Effect.flip(connectUnix(join(path, "b.sock")))).code)
      assert.deepStrictEqual(codes, ["NO_FOLDER", "ENOENT", "ECONNREFUSED"])
    }).pipe(Effect.scoped)
  )
})
