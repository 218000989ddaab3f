import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { loadControlIdentity, makeControlIdentity } from "../../../src/directory/server/ControlIdentity.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "connet-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

describe("the identity of a control server", () => {
  it.effect("is made once, and the same ever after", () =>
    Effect.gen(function* () {
      const own = join(yield* folder, "deep", "down")
      const made = yield* loadControlIdentity(own)
      assert.match(made.id, /^[0-9a-v]{52}\.relay\.control\.invalid$/)
      assert.deepEqual([made.clientKey.length, made.relayKey.length], [32, 32])
      const again = yield* loadControlIdentity(own)
      assert.strictEqual(again.id, made.id)
      assert.deepEqual([...again.clientKey], [...made.clientKey])
      assert.deepEqual([...again.relayKey], [...made.relayKey])
      assert.notStrictEqual((yield* loadControlIdentity(yield* folder)).id, made.id)
    }).pipe(Effect.scoped)
  )

  it.effect("is for its owner only, and leaves nothing else in the folder", () =>
    Effect.gen(function* () {
      const own = join(yield* folder, "state")
      yield* loadControlIdentity(own)
      assert.deepEqual(readdirSync(own), ["control.json"])
      assert.strictEqual(statSync(join(own, "control.json")).mode & 0o777, 0o600)
      assert.strictEqual(statSync(own).mode & 0o777, 0o700)
    }).pipe(Effect.scoped)
  )

  it.effect("that cannot be read is an error that names the file, says no secret, and leaves the file as it is", () =>
    Effect.gen(function* () {
      const own = yield* folder
      const path = join(own, "control.json")
      const good = { id: "some id", clientKey: "5ec2e7".padEnd(64, "0"), relayKey: "5ec2e7".padEnd(64, "1") }
      for (const broken of [
        "",
        "null",
        "[]",
        JSON.stringify(good).slice(0, -3),
        JSON.stringify(good).replace(":", " "),
        "5ec2e7",
        "{5ec2e7: 1}",
        JSON.stringify({ ...good, id: "" }),
        JSON.stringify({ ...good, clientKey: "5ec2e7" }),
        JSON.stringify({ ...good, relayKey: "5ec2e7-not-hex" }),
        JSON.stringify({ ...good, relayKey: undefined })
      ]) {
        writeFileSync(path, broken)
        const error = yield* Effect.flip(loadControlIdentity(own))
        assert.strictEqual(error.reason._tag, "StateUnusable", broken)
        assert.strictEqual(error.message.split(path).length, 2, error.message)
        assert.notInclude(error.message, "5ec2e7")
        assert.notInclude(error.message, "\n")
        assert.strictEqual(readFileSync(path, "utf8"), broken)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("that cannot be written is an error that names the file", () =>
    Effect.gen(function* () {
      const own = yield* folder
      writeFileSync(join(own, "state"), "a file where a folder should be")
      const error = yield* Effect.flip(loadControlIdentity(join(own, "state")))
      assert.include(error.message, join(own, "state", "control.json"))
      mkdirSync(join(own, "other", "control.json"), { recursive: true })
      assert.include((yield* Effect.flip(loadControlIdentity(join(own, "other")))).message, "EISDIR")
    }).pipe(Effect.scoped)
  )

  it("is another one each time when it is kept nowhere", () => {
    assert.notStrictEqual(makeControlIdentity().id, makeControlIdentity().id)
  })
})
