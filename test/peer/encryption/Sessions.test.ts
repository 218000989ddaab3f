import { assert, describe, it } from "@effect/vitest"
import { type Session, Sessions, sessionKeys } from "../../../src/peer/encryption/Sessions.ts"

const session = (id: number): Session => ({
  id: Buffer.alloc(16, id),
  secret: Buffer.alloc(32, id),
  peer: `peer ${id}`
})
const nonce = (of: number) => Buffer.alloc(32, of)

describe("sessions", () => {
  it("are good for an hour", () => {
    const sessions = new Sessions()
    sessions.keep("a", session(1), 1_000)
    assert.deepEqual(sessions.find("a", 3_600_999), session(1))
    assert.isUndefined(sessions.find("a", 3_601_000))
    assert.isUndefined(sessions.find("a", 1_000))
  })

  it("are forgotten when they are to be, and the oldest when there are more than a thousand", () => {
    const sessions = new Sessions()
    for (let name = 0; name <= 1_000; name++) sessions.keep(String(name), session(1), 0)
    assert.isUndefined(sessions.find("0", 0))
    assert.isDefined(sessions.find("1", 0))
    const [before, after] = [sessions.find("1", 0)!, session(2)]
    sessions.keep("1", after, 0)
    sessions.keep("new", session(3), 0)
    assert.deepEqual(sessions.find("1", 0), session(2))
    assert.isUndefined(sessions.find("2", 0))
    sessions.forget("1", before)
    assert.strictEqual(sessions.find("1", 0), after)
    sessions.forget("1", after)
    assert.isUndefined(sessions.find("1", 0))
  })

  it("give other keys for each direction, and for every nonce of either side", () => {
    const keys = [
      sessionKeys(session(1), nonce(1), nonce(2)),
      sessionKeys(session(1), nonce(1), nonce(3)),
      sessionKeys(session(1), nonce(3), nonce(2)),
      sessionKeys(session(2), nonce(1), nonce(2))
    ].flatMap(({ sourceToDestination, destinationToSource }) => [sourceToDestination, destinationToSource])
    assert.strictEqual(new Set(keys.map((key) => Buffer.from(key).toString("hex"))).size, 8)
    assert.deepEqual(sessionKeys(session(1), nonce(1), nonce(2)), sessionKeys(session(1), nonce(1), nonce(2)))
  })
})
