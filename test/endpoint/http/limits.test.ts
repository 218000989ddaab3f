import { assert, describe, it } from "vitest"
import { DEFAULT_LIMITS, type Progress, verdict } from "../../../src/endpoint/http/limits.ts"

const still: Progress = {
  moved: false,
  answered: false,
  requestComplete: true,
  requestBlocked: false,
  answerBlocked: false,
  stillMillis: 1_000_000
}

describe("an exchange that stands still", () => {
  const judge = (progress: Partial<Progress>) => verdict({ ...still, ...progress }, DEFAULT_LIMITS)

  it("is given up by whoever is waited for", () => {
    assert.strictEqual(judge({}), "service")
    assert.strictEqual(judge({ requestComplete: false }), "user")
    assert.strictEqual(judge({ requestComplete: false, requestBlocked: true }), "service")
    assert.strictEqual(judge({ answered: true, answerBlocked: true }), "user")
  })

  it("goes on while anything moves, or its service has begun to answer", () => {
    assert.strictEqual(judge({ moved: true, requestComplete: false }), "wait")
    assert.strictEqual(judge({ answered: true }), "wait")
    assert.strictEqual(judge({ stillMillis: 1_000 }), "wait")
    assert.strictEqual(judge({ requestComplete: false, stillMillis: 1_000 }), "wait")
  })
})
