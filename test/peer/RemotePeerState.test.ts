import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Path } from "../../src/peer/Paths.ts"
import { type Action, initial, type Message, type RemotePeerState, step } from "../../src/peer/RemotePeerState.ts"
import type { RemotePeer } from "../../src/protocol/ClientControl.ts"

const remote = (...ports: ReadonlyArray<number>): RemotePeer => ({
  id: "peer",
  metadata: "",
  peer: {
    directs: ports.map((port) => ({ host: "192.0.2.1", port })),
    serverCertificate: new Uint8Array([1]),
    clientCertificate: new Uint8Array([2]),
    relayIds: []
  }
})

const path = (id: number, direction: Path["direction"] = "outgoing"): Path => ({
  id,
  peerId: "peer",
  direction,
  carrier: "quic",
  address: "192.0.2.1:5000",
  state: "Open",
  roundTripMillis: 10,
  distanceMillis: 10
})

const listed = (...ports: ReadonlyArray<number>): Message => ({ _tag: "Listed", remote: remote(...ports) })
const listedWithTcp = (ports: ReadonlyArray<number>): Message => {
  const { peer, ...rest } = remote(...ports)
  return { _tag: "Listed", remote: { ...rest, peer: { ...peer, tcpDirects: peer.directs } } }
}
const unlisted = (replaced = false): Message => ({ _tag: "Unlisted", replaced })
const opened = (id: number, direction?: Path["direction"]): Message => ({ _tag: "Opened", path: path(id, direction) })
const openedQuic = (id: number, millis: number): Message => ({
  _tag: "Opened",
  path: { ...path(id), roundTripMillis: millis, distanceMillis: millis }
})
const openedTcp = (id: number, millis: number): Message => ({
  _tag: "Opened",
  path: { ...path(id), carrier: "tcp", roundTripMillis: millis, distanceMillis: millis }
})
const answered = (id: number, idle = false): Message => ({ _tag: "Answered", path: id, roundTripMillis: 10, idle })
const missed = (id: number): Message => ({ _tag: "Missed", path: id })
const doubted = (id: number): Message => ({ _tag: "Doubted", path: id })
const closed = (id: number): Message => ({ _tag: "Closed", path: id })
const raceEnded = (race: number, won: boolean): Message => ({ _tag: "RaceEnded", race, won })
const pauseEnded: Message = { _tag: "PauseEnded" }

/** The state after all messages, and what the last one led to. */
const after = (...messages: ReadonlyArray<Message>) => run("source", messages)

const run = (role: "source" | "destination", messages: ReadonlyArray<Message>) => {
  let state: RemotePeerState = initial(role, ["quic", "tcp"])
  let actions: ReadonlyArray<Action> = []
  for (const message of messages) [state, actions] = step(state, message)
  return { state, actions, tags: actions.map(({ _tag }) => _tag) }
}

describe("a remote peer", () => {
  it("is dialed as soon as it is listed with addresses", () => {
    assert.deepStrictEqual(after(listed(5000)).actions, [
      { _tag: "Race", race: 1, remote: remote(5000), carriers: ["quic"] }
    ])
    assert.deepStrictEqual(after(listed()).actions, [])
  })

  it("is dialed anew when its addresses change, and not when they do not", () => {
    assert.deepStrictEqual(after(listed(5000), listed(5001)).tags, ["Race"])
    assert.deepStrictEqual(after(listed(5000), listed(5000)).tags, [])
  })

  it("is not dialed while a path answers, whatever is announced", () => {
    assert.deepStrictEqual(after(listed(5000), raceEnded(1, true), opened(1), listed(5001)).tags, [])
    assert.deepStrictEqual(after(opened(1, "incoming"), listed(5000)).tags, [])
  })

  it("is dialed again after a pause that grows with each race that failed", () => {
    assert.deepStrictEqual(after(listed(5000), raceEnded(1, false)).actions, [
      { _tag: "Pause", failures: 1, background: false }
    ])
    const again = after(listed(5000), raceEnded(1, false), pauseEnded, raceEnded(2, false))
    assert.deepStrictEqual(again.actions, [{ _tag: "Pause", failures: 2, background: false }])
  })

  it("is not waited for when its addresses change during the pause", () => {
    const { tags, state } = after(listed(5000), raceEnded(1, false), listed(5001))
    assert.deepStrictEqual([tags, state.failures], [["Race"], 0])
  })

  it("ignores the end of a race that another one has replaced", () => {
    assert.deepStrictEqual(after(listed(5000), listed(5001), raceEnded(1, false)).tags, [])
  })

  it("is suspected and dialed when its only path misses one probe, or a user hears nothing on it", () => {
    for (const message of [missed(1), doubted(1)]) {
      const { state, tags } = after(listed(5000), opened(1), raceEnded(1, true), message)
      assert.deepStrictEqual([state.paths[0]?.state, tags], ["Suspect", ["Race"]])
    }
  })

  it("is not dialed for a suspect path while another one answers", () => {
    assert.deepStrictEqual(
      after(listed(5000), opened(1), opened(2, "incoming"), raceEnded(1, true), missed(1)).tags,
      []
    )
  })

  it("is trusted again with the next answer", () => {
    const { state } = after(listed(5000), opened(1), raceEnded(1, true), missed(1), missed(1), answered(1))
    assert.deepStrictEqual([state.paths[0]?.state, state.paths[0]?.missed], ["Open", 0])
  })

  it("loses a path that missed three probes when another one answers", () => {
    const before = [listed(5000), opened(1), opened(2, "incoming"), raceEnded(1, true), missed(1), missed(1)]
    assert.deepStrictEqual(after(...before).tags, [])
    assert.deepStrictEqual(after(...before, missed(1)).actions, [{ _tag: "ClosePath", path: 1, why: "dead" }])
  })

  it("keeps its paths when none answers: the network may be away", () => {
    const { tags, state } = after(listed(5000), opened(1), raceEnded(1, true), ...Array(9).fill(missed(1)))
    assert.deepStrictEqual([tags, state.paths.length], [[], 1])
  })

  it("does not lose a path by doubts alone", () => {
    const doubts = [doubted(1), doubted(1), doubted(1), doubted(1)]
    assert.deepStrictEqual(after(listed(5000), opened(1), opened(2), raceEnded(1, true), ...doubts).tags, [])
  })

  it("is dialed at once when its last path ends, but after a pause when that had never answered", () => {
    const begin = [listed(5000), opened(1), raceEnded(1, true)]
    assert.deepStrictEqual(after(...begin, answered(1), closed(1)).tags, ["Race"])
    assert.deepStrictEqual(after(...begin, closed(1)).actions, [{ _tag: "Pause", failures: 1, background: false }])
  })

  it("keeps its paths when control forgets it, and ends with the last of them", () => {
    const begin = [listed(5000), opened(1), raceEnded(1, true), answered(1)]
    assert.deepStrictEqual(after(...begin, unlisted()).tags, [])
    assert.deepStrictEqual(after(...begin, unlisted()).state.paths[0]?.state, "Open")
    assert.deepStrictEqual(after(...begin, unlisted(), closed(1)).tags, ["End"])
    assert.deepStrictEqual(after(listed(5000), unlisted()).tags, ["End"])
  })

  it("is not dialed any more once it is forgotten", () => {
    assert.deepStrictEqual(after(listed(5000), opened(1), raceEnded(1, true), unlisted(), missed(1)).tags, [])
  })

  it("whose client has other certificates now is suspect until it answers", () => {
    const replaced = [listed(5000), opened(1), raceEnded(1, true), answered(1), unlisted(true)]
    assert.strictEqual(after(...replaced).state.paths[0]?.state, "Suspect")
    assert.strictEqual(after(...replaced, answered(1)).state.paths[0]?.state, "Open")
  })

  it("has its idle second path of one direction closed, by the source only", () => {
    const two = [listed(5000), opened(1), opened(2), raceEnded(1, true), answered(1, true), answered(2, true)]
    assert.deepStrictEqual(run("source", two).actions, [{ _tag: "ClosePath", path: 2, why: "surplus" }])
    assert.deepStrictEqual(run("destination", two).actions, [])
  })

  it("keeps a spare of the other direction, and paths that carry something", () => {
    const spare = [listed(5000), opened(1), opened(2, "incoming"), raceEnded(1, true)]
    assert.deepStrictEqual(after(...spare, answered(1, true), answered(2, true)).tags, [])
    assert.deepStrictEqual(after(listed(5000), opened(1), opened(2), answered(1), answered(2)).tags, [])
    assert.deepStrictEqual(after(listed(5000), opened(1), opened(2), answered(2), answered(1, true)).actions, [
      { _tag: "ClosePath", path: 1, why: "surplus" }
    ])
  })
})

const Step = Schema.Struct({
  what: Schema.Literals([
    "list",
    "unlist",
    "accept",
    "answer",
    "answer idle",
    "miss",
    "miss",
    "doubt",
    "close",
    "win",
    "lose",
    "wait"
  ]),
  which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))
})

describe("carriers of a remote peer", () => {
  const both = listedWithTcp([5000])
  const background = (race: number, ...carriers: ReadonlyArray<"quic" | "tcp">): ReadonlyArray<Action> => [
    { _tag: "Race", race, remote: (both as { remote: RemotePeer }).remote, carriers }
  ]

  it("are all dialed while no path answers, as far as both ends have them", () => {
    assert.deepStrictEqual(after(both).actions, background(1, "quic", "tcp"))
    assert.deepStrictEqual(step(initial("source", ["tcp"]), both)[1], background(1, "tcp"))
    assert.deepStrictEqual(step(initial("source", ["tcp"]), listed(5000))[1], [])
  })

  it("are complete with QUIC on a link that is not local", () => {
    assert.deepStrictEqual(after(both, opened(1), raceEnded(1, true), answered(1)).tags, [])
  })

  it("are completed with TCP on a local link, by the source at once and by the destination after a pause", () => {
    const local: ReadonlyArray<Message> = [both, openedQuic(1, 0.4), raceEnded(1, true)]
    assert.deepStrictEqual(after(...local).actions, background(2, "tcp"))
    const pausing = run("destination", local)
    assert.deepStrictEqual(pausing.actions, [{ _tag: "Pause", failures: 1, background: true }])
    assert.deepStrictEqual(run("destination", [...local, pauseEnded]).actions, background(2, "tcp"))
    assert.deepStrictEqual(run("destination", [...local, openedTcp(2, 0.4), pauseEnded]).actions, [])
  })

  it("are completed with QUIC where only TCP got through, with growing pauses", () => {
    const through: ReadonlyArray<Message> = [both, openedTcp(1, 40), raceEnded(1, true)]
    assert.deepStrictEqual(after(...through).actions, background(2, "quic"))
    const once = [...through, raceEnded(2, false)]
    assert.deepStrictEqual(after(...once).actions, [{ _tag: "Pause", failures: 1, background: true }])
    assert.deepStrictEqual(after(...once, answered(1)).actions, [])
    const twice = [...once, pauseEnded, raceEnded(3, false)]
    assert.deepStrictEqual(after(...twice).actions, [{ _tag: "Pause", failures: 2, background: true }])
    const open = after(...twice, pauseEnded, raceEnded(4, true), opened(2), pauseEnded)
    assert.deepStrictEqual([open.actions, open.state.attempts], [[], 0])
  })

  it("do not keep a peer that fell silent from being dialed at once", () => {
    const through: ReadonlyArray<Message> = [both, openedTcp(1, 40), raceEnded(1, true)]
    assert.deepStrictEqual(after(...through, missed(1)).actions, background(3, "quic", "tcp"))
    assert.deepStrictEqual(after(...through, raceEnded(2, false), missed(1)).actions, background(3, "quic", "tcp"))
  })

  it("are dialed anew at once when the peer tells of more", () => {
    const local: ReadonlyArray<Message> = [listed(5000), openedQuic(1, 0.4), raceEnded(1, true)]
    assert.deepStrictEqual(after(...local).tags, [])
    assert.deepStrictEqual(after(...local, both).actions, background(2, "tcp"))
  })

  it("have a path and a spare each: only more than that is surplus", () => {
    const two: ReadonlyArray<Message> = [both, opened(1), openedTcp(2, 10), raceEnded(1, true)]
    assert.deepStrictEqual(after(...two, answered(1, true), answered(2, true)).tags, [])
    assert.deepStrictEqual(after(...two, openedTcp(3, 10), answered(3, true)).actions, [
      { _tag: "ClosePath", path: 3, why: "surplus" }
    ])
  })
})

describe("whatever happens to a remote peer", () => {
  it.prop(
    "it has one race at most, is always dialed when it is silent, and ends only when nothing is left",
    [Schema.Array(Step)],
    ([steps]) => {
      let state = initial("source", ["quic", "tcp"])
      let race: number | undefined
      let background = false
      let pausing = false
      let directs = 0
      let next = 1

      const tell = (message: Message): boolean => {
        const [after, actions] = step(state, message)
        state = after
        return actions.every((action) => {
          switch (action._tag) {
            case "Race":
              // Another one is replaced only when the addresses have changed, or when it was not needed before.
              if (race !== undefined && message._tag !== "Listed" && !background) return false
              race = action.race
              background = state.background === "race"
              pausing = false
              return true
            case "Pause":
              if (race !== undefined) return false
              pausing = true
              return true
            case "ClosePath":
              return state.paths.some(({ id }) => id === action.path) && tell(closed(action.path))
            case "End":
              return state.remote === undefined && state.paths.length === 0
          }
        })
      }

      return steps.every(({ what, which }) => {
        const some = state.paths[which]?.id
        const about = (message: (id: number) => Message) => some === undefined || tell(message(some))
        const told = () => {
          switch (what) {
            case "list":
              directs = which
              if (directs === 0) race = undefined
              return tell(listedWithTcp(Array.from({ length: which }, (_, at) => 5_000 + at)))
            case "unlist":
              return tell(unlisted(which === 0))
            case "accept":
              return tell(which === 0 ? openedTcp(next++, 1) : opened(next++, "incoming"))
            case "answer":
              return about((id) => answered(id))
            case "answer idle":
              return about((id) => answered(id, true))
            case "miss":
              return about(missed)
            case "doubt":
              return about(doubted)
            case "close":
              return about(closed)
            case "win": {
              if (race === undefined) return true
              const won = race
              race = undefined
              return tell(opened(next++)) && tell(raceEnded(won, true))
            }
            case "lose": {
              if (race === undefined) return true
              const lost = race
              race = undefined
              return tell(raceEnded(lost, false))
            }
            case "wait": {
              if (!pausing) return true
              pausing = false
              return tell(pauseEnded)
            }
          }
        }
        const silent = () => !state.paths.some((path) => path.state === "Open")
        const full = () => state.paths.length >= 8
        const dialed = () =>
          full() || state.remote === undefined || directs === 0 || !silent() || race !== undefined || pausing
        return told() && dialed()
      })
    },
    { arbitrary: { runs: 500 } }
  )
})
