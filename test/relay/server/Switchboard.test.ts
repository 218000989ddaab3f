import { assert, describe, it } from "@effect/vitest"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import {
  candidates,
  type DestinationLink,
  joined,
  left,
  type Switchboard
} from "../../../src/relay/server/Switchboard.ts"

const WEB = "web" as EndpointName
const link = (key: number, endpoint = WEB): DestinationLink => ({ key, endpoint, certificateKey: `certificate ${key}` })
const EMPTY: Switchboard<DestinationLink> = new Map()

const order = (
  links: ReadonlyArray<DestinationLink>,
  conditions: Readonly<Record<number, { readonly silent?: boolean; readonly roundTripMillis?: number }>> = {},
  wanted?: string
) =>
  candidates(links, wanted, ({ key }) => ({
    silent: conditions[key]?.silent ?? false,
    roundTripMillis: conditions[key]?.roundTripMillis
  })).map(({ key }) => key)

describe("the switchboard", () => {
  it("asks the nearest destination first, and those that are silent last", () => {
    const links = [link(1), link(2), link(3)]
    assert.deepStrictEqual(order(links, { 1: { roundTripMillis: 30 }, 2: { roundTripMillis: 10 } }), [2, 1, 3])
    assert.deepStrictEqual(
      order(links, { 1: { roundTripMillis: 1, silent: true }, 2: { roundTripMillis: 10 }, 3: { roundTripMillis: 5 } }),
      [3, 2, 1]
    )
  })

  it("asks of equals the one that came last: it may be the successor of the other", () => {
    assert.deepStrictEqual(order([link(1), link(2)], { 1: { roundTripMillis: 5 }, 2: { roundTripMillis: 5 } }), [2, 1])
  })

  it("asks nobody but the one that is meant", () => {
    assert.deepStrictEqual(order([link(1), link(2)], {}, "certificate 1"), [1])
    assert.deepStrictEqual(order([link(1), link(2)], {}, "certificate 3"), [])
  })

  it("a late farewell of an old link leaves its successor alone, and the last one takes the endpoint with it", () => {
    const [old, successor] = [link(1), { ...link(2), certificateKey: "certificate 1" }]
    const both = joined(joined(EMPTY, old), successor)
    const after = left(left(both, old), old)
    assert.deepStrictEqual(after.get(WEB), [successor])
    assert.strictEqual(left(after, successor).size, 0)
  })

  it("endpoints do not see each other", () => {
    const board = joined(joined(EMPTY, link(1)), link(2, "other" as EndpointName))
    assert.deepStrictEqual(board.get(WEB), [link(1)])
  })
})
