import { assert, describe, it } from "@effect/vitest"
import { choose, type Path } from "../../src/peer/Paths.ts"

const path = (id: number, roundTripMillis: number, state: Path["state"] = "Open"): Path => ({
  id,
  peerId: "peer",
  direction: "outgoing",
  address: `192.0.2.${id}:5000`,
  state,
  roundTripMillis
})

const ids = (paths: ReadonlyArray<Path>, last?: number) => choose(paths, last)?.order.map(({ id }) => id)

describe("choose", () => {
  it("has nothing to say without paths", () => {
    assert.isUndefined(choose([], 1))
  })

  it("takes the only path, whatever it is like", () => {
    assert.deepStrictEqual(choose([path(1, 900, "Suspect")], undefined)?.reason, "only")
  })

  it("takes the nearest first and keeps the others in order", () => {
    const choice = choose([path(1, 30), path(2, 10), path(3, 20)], undefined)
    assert.deepStrictEqual(
      choice?.order.map(({ id }) => id),
      [2, 3, 1]
    )
    assert.strictEqual(choice?.reason, "nearest")
  })

  it("stays with the path in use while another one is only a little faster", () => {
    assert.deepStrictEqual(ids([path(1, 30), path(2, 16)], 1), [1, 2])
    assert.deepStrictEqual(ids([path(1, 3), path(2, 1.2)], 1), [1, 2])
    assert.strictEqual(choose([path(1, 30), path(2, 16)], 1)?.reason, "sticky")
  })

  it("leaves the path in use for one that is clearly faster", () => {
    const choice = choose([path(1, 30), path(2, 10)], 1)
    assert.deepStrictEqual([choice?.order[0]?.id, choice?.reason], [2, "nearest"])
  })

  it("leaves the path in use when it is suspect and another one answers", () => {
    const choice = choose([path(1, 1, "Suspect"), path(2, 500)], 1)
    assert.deepStrictEqual([choice?.order.map(({ id }) => id), choice?.reason], [[2, 1], "answering"])
  })

  it("keeps suspect paths as a last resort", () => {
    assert.deepStrictEqual(ids([path(1, 1, "Suspect"), path(2, 5, "Suspect"), path(3, 500)], undefined), [3, 1, 2])
  })

  const relay = (id: number, roundTripMillis: number, state?: Path["state"]): Path => ({
    ...path(id, roundTripMillis, state),
    direction: "relay"
  })
  const chosen = (paths: ReadonlyArray<Path>, last?: number) => {
    const choice = choose(paths, last)
    return [choice?.order[0]?.id, choice?.reason]
  }

  it("takes a direct path before any relay, and leaves a relay for it, however far it is", () => {
    assert.deepStrictEqual(chosen([relay(1, 1), path(2, 300)]), [2, "direct"])
    assert.deepStrictEqual(chosen([relay(1, 1), path(2, 300), path(3, 310)], 1), [2, "direct"])
  })

  it("takes a relay that answers before a direct path that does not, and goes back when that does again", () => {
    assert.deepStrictEqual(chosen([relay(1, 50), path(2, 1, "Suspect")], 2), [1, "answering"])
    assert.deepStrictEqual(chosen([relay(1, 50), path(2, 1)], 1), [2, "direct"])
  })

  it("stays with a relay while another one is only a little faster", () => {
    assert.deepStrictEqual(chosen([relay(1, 30), relay(2, 25)], 1), [1, "sticky"])
  })

  it("does not depend on the order of the paths", () => {
    const paths = [path(1, 10), path(2, 10), path(3, 10, "Suspect"), path(4, 4)]
    assert.deepStrictEqual(ids(paths, 2), ids([...paths].reverse(), 2))
  })
})
