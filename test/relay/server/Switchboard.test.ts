import { assert, describe, it } from "@effect/vitest"
import type { EndpointName } from "../../../src/domain/EndpointName.ts"
import { candidates, type DestinationLink, joined, left } from "../../../src/relay/server/Switchboard.ts"

interface Played extends DestinationLink {
  readonly roundTripMillis: number | undefined
  readonly silent: boolean
}

const WEB = "web" as EndpointName

const link = (key: number, roundTripMillis?: number, more: Partial<Played> = {}): Played => ({
  key,
  endpoint: WEB,
  certificateKey: `certificate ${key}`,
  roundTripMillis,
  silent: false,
  ...more
})

const order = (links: ReadonlyArray<Played>, wanted?: string) =>
  candidates(links, wanted, ({ silent, roundTripMillis }) => ({ silent, roundTripMillis })).map(({ key }) => key)

const board = (...links: ReadonlyArray<Played>) => links.reduce(joined<Played>, new Map())

describe("the destinations to ask", () => {
  it("come in the order of their round trips, those that were not measured after them", () => {
    assert.deepEqual(order([link(1), link(2, 30), link(3, 10), link(4, 20)]), [3, 4, 2, 1])
  })

  it("come last when they are silent, however near they are", () => {
    assert.deepEqual(
      order([link(1, 1, { silent: true }), link(2, 900), link(3), link(4, 5, { silent: true })]),
      [2, 3, 1, 4]
    )
  })

  it("come newest first when nothing else tells them apart", () => {
    assert.deepEqual(order([link(1, 10), link(3, 10), link(2, 10)]), [3, 2, 1])
    assert.deepEqual(order([link(1), link(3), link(2)]), [3, 2, 1])
    assert.deepEqual(order([link(1, 5, { silent: true }), link(2, 5, { silent: true })]), [2, 1])
  })

  it("do not depend on the order in which they are listed", () => {
    const links = [link(1, 10), link(2), link(3, 10), link(4, 1, { silent: true }), link(5, 0)]
    assert.deepEqual(order(links), order([...links].reverse()))
  })

  it("are only those of the certificate that is wanted", () => {
    const links = [link(1, 10), link(2, 5, { certificateKey: "wanted" }), link(3, 1)]
    assert.deepEqual(order(links, "wanted"), [2])
    assert.deepEqual(order(links, "another"), [])
    assert.deepEqual(order([], undefined), [])
  })

  it("are no link in whose place the same destination has another one that answers", () => {
    const one = { certificateKey: "one" }
    assert.deepEqual(order([link(1, 5, one), link(2, 9, one), link(3, 7)]), [3, 2])
    assert.deepEqual(order([link(1, 5, one), link(2, 1, { ...one, silent: true }), link(3, 7)]), [1, 3, 2])
  })

  it("are left as they are listed", () => {
    const links = [link(1, 10), link(2, 5)]
    order(links)
    assert.deepEqual(
      links.map(({ key }) => key),
      [1, 2]
    )
  })
})

describe("the switchboard", () => {
  it("lists the destinations of each endpoint apart", () => {
    const other = link(2, 1, { endpoint: "other" as EndpointName })
    assert.deepEqual(
      [...board(link(1), other, link(3)).entries()],
      [
        [WEB, [link(1), link(3)]],
        [other.endpoint, [other]]
      ]
    )
  })

  it("keeps a destination that came back when its old entry leaves late", () => {
    const [old, back] = [link(1, 5, { certificateKey: "same" }), link(2, 5, { certificateKey: "same" })]
    assert.deepEqual(left(board(old, back), old).get(WEB), [back])
  })

  it("does not mind an entry that left already", () => {
    const [gone, there] = [link(1), link(2)]
    const once = left(board(gone, there), gone)
    assert.deepEqual(left(once, gone), once)
    assert.deepEqual(left(new Map(), gone), new Map())
  })

  it("forgets an endpoint with its last destination", () => {
    assert.strictEqual(left(board(link(1)), link(1)).size, 0)
  })

  it("never changes a board that somebody else looks at", () => {
    const before = board(link(1))
    joined(before, link(2))
    left(before, link(1))
    assert.deepEqual(before, board(link(1)))
  })
})
