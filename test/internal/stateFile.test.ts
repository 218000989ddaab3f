import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "vitest"
import { readState, writeState } from "../../src/internal/stateFile.ts"

let folder = ""
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "connet-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

const failure = async (doing: Promise<unknown>) => {
  try {
    await doing
  } catch (error) {
    return (error as Error).message
  }
  throw new Error("it did not fail")
}

describe("a state file", () => {
  it("holds what was written last", async () => {
    const path = join(folder, "state.json")
    assert.isUndefined(await readState(path))
    await writeState(path, { round: 1 })
    await writeState(path, { round: 2 })
    assert.deepEqual(await readState(path), { round: 2 })
    assert.deepEqual(readdirSync(folder), ["state.json"])
  })

  it("is for its owner only, also when it was not before", async () => {
    const path = join(folder, "state.json")
    writeFileSync(path, "{}", { mode: 0o644 })
    await writeState(path, {})
    assert.strictEqual(statSync(path).mode & 0o777, 0o600)
  })

  it("that cannot be replaced leaves nothing behind", async () => {
    const path = join(folder, "state.json")
    mkdirSync(path)
    assert.match(await failure(writeState(path, { secret: 1 })), /it cannot be written: E/)
    assert.deepEqual(readdirSync(folder), ["state.json"])
  })

  it("is one of two that are written at once, and whole", async () => {
    const path = join(folder, "state.json")
    const states = Array.from({ length: 20 }, (_, at) => ({ at, text: "x".repeat(10_000) }))
    await Promise.all(states.map((state) => writeState(path, state)))
    assert.deepInclude(states, await readState(path))
    assert.deepEqual(readdirSync(folder), ["state.json"])
  })

  it("that is no JSON is not quoted", async () => {
    const path = join(folder, "state.json")
    writeFileSync(path, "secret")
    assert.strictEqual(await failure(readState(path)), "it is not JSON")
  })
})
