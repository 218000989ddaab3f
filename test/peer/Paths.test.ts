import { assert, describe, it } from "@effect/vitest"
import { choose, type Path } from "../../src/peer/Paths.ts"

const path = (id: number, roundTripMillis: number, state: Path["state"] = "Open"): Path => ({
  id,
  peerId: "peer",
  direction: "outgoing",
  carrier: "quic",
  address: `192.0.2.${id}:5000`,
  state,
  roundTripMillis,
  distanceMillis: roundTripMillis
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

  const tcp = (id: number, roundTripMillis: number, state?: Path["state"]): Path => ({
    ...path(id, roundTripMillis, state),
    carrier: "tcp"
  })

  it("takes TCP on a local link, and QUIC on any other one, though it is in use and nearer", () => {
    assert.deepStrictEqual(chosen([path(1, 0.5), tcp(2, 4.9)]), [2, "bandwidth"])
    assert.deepStrictEqual(chosen([path(1, 0.5), tcp(2, 0.9)], 1), [2, "bandwidth"])
    assert.deepStrictEqual(chosen([path(1, 45), tcp(2, 40)]), [1, "resilience"])
    assert.deepStrictEqual(chosen([path(1, 45), tcp(2, 12)], 2), [1, "resilience"])
  })

  it("stays with TCP until the link is clearly not local any more", () => {
    assert.deepStrictEqual(chosen([path(1, 7), tcp(2, 8)]), [1, "resilience"])
    assert.deepStrictEqual(chosen([path(1, 7), tcp(2, 8)], 2), [2, "sticky"])
    assert.deepStrictEqual(chosen([path(1, 10), tcp(2, 11)], 2), [1, "resilience"])
  })

  it("goes by the distance, not by what a busy link makes of it", () => {
    const busy = (of: Path): Path => ({ ...of, distanceMillis: 0.3 })
    assert.deepStrictEqual(chosen([busy(path(1, 30)), busy(tcp(2, 90))]), [2, "bandwidth"])
  })

  it("takes the other carrier when the better one does not answer, and a direct path whatever carries it", () => {
    assert.deepStrictEqual(chosen([path(1, 1), tcp(2, 1, "Suspect")], 2), [1, "answering"])
    assert.deepStrictEqual(chosen([path(1, 40, "Suspect"), tcp(2, 40)], 1), [2, "answering"])
    assert.deepStrictEqual(chosen([{ ...tcp(1, 1), direction: "relay" }, path(2, 1)], 1), [2, "direct"])
  })

  it("compares the carriers of one peer only", () => {
    const far = { ...tcp(3, 60), peerId: "far" }
    assert.deepStrictEqual(chosen([path(1, 1), far]), [1, "nearest"])
    assert.deepStrictEqual(ids([path(1, 20), tcp(2, 20), far], 2), [1, 3, 2])
  })

  it("does not depend on the order of the paths", () => {
    const paths = [path(1, 10), path(2, 10), path(3, 10, "Suspect"), path(4, 4)]
    assert.deepStrictEqual(ids(paths, 2), ids([...paths].reverse(), 2))
  })
})
