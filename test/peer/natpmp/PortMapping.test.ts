import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Answer, Question } from "../../../src/peer/natpmp/NatPmp.ts"
import {
  type Action,
  dueAt,
  type Event,
  farewell,
  initial,
  type Options,
  type State,
  step,
  type Uplink
} from "../../../src/peer/natpmp/PortMapping.ts"

const PORT = 19_192
const both: Options = { port: PORT, protocols: ["udp", "tcp"], jitter: 0.5 }
const udpOnly: Options = { ...both, protocols: ["udp"] }
const uplink: Uplink = { address: "192.168.1.23", gateway: { host: "192.168.1.1", port: 5351 } }

/** A router's answers; its epoch goes with the time since it was started at 0, and the time is that of the run. */
const address = (host = "203.0.113.7", epochSeconds?: number) => ({ _tag: "Address", host, epochSeconds }) as const
const mapped = (protocol: "udp" | "tcp", externalPort = 40_000, lifetimeSeconds = 600, epochSeconds?: number) =>
  ({ _tag: "Mapped", protocol, internalPort: PORT, externalPort, lifetimeSeconds, epochSeconds }) as const
const refused = (question: Question, code = 2) => ({ _tag: "Refused", question, code }) as const

type Told = ReturnType<typeof address> | ReturnType<typeof mapped> | ReturnType<typeof refused>

/** A port mapping with its clock: what was done by each event. */
const start = (options = both) => {
  let state: State = initial
  let now = 1_000_000
  const feed = (event: Event): ReadonlyArray<Action> => {
    const [next, actions] = step(options, state, event, now)
    state = next
    return actions
  }
  return {
    state: () => state,
    now: () => now,
    looked: (found = uplink) => feed({ _tag: "Looked", uplink: found }),
    cutOff: () => feed({ _tag: "Looked", uplink: undefined }),
    hears: (answer: Told) =>
      feed({
        _tag: "Answered",
        answer: (answer._tag === "Refused"
          ? answer
          : { ...answer, epochSeconds: answer.epochSeconds ?? now / 1_000 }) as Answer
      }),
    /** Lets time pass; everything that is due happens when it is. */
    wait: (millis: number) => {
      const until = now + millis
      const actions: Array<Action> = []
      while (dueAt(state) <= until) {
        now = Math.max(now, dueAt(state))
        actions.push(...feed({ _tag: "Due" }))
      }
      now = until
      return actions
    },
    farewell: () => farewell(options, state)
  }
}

/** One that has both mappings. */
const started = (options = both) => {
  const run = start(options)
  run.looked()
  run.hears(address())
  run.hears(mapped("udp"))
  if (options.protocols.length > 1) run.hears(mapped("tcp"))
  return run
}

/** What was sent, shortly. */
const questions = (actions: ReadonlyArray<Action>) =>
  actions.flatMap((action) => {
    if (action._tag !== "Send") return []
    const { request } = action
    return request._tag === "Address" ? ["address"] : [`${request.protocol} ${request.externalPort}`]
  })
const lost = (actions: ReadonlyArray<Action>) =>
  actions.flatMap((action) => (action._tag === "Lost" ? [`${action.protocol}: ${action.reason}`] : []))
const opened = (actions: ReadonlyArray<Action>) =>
  actions.flatMap((action) => (action._tag === "Opened" ? [`${action.protocol} ${action.external.port}`] : []))
const held = ({ held }: State) => Object.keys(held)

describe("a round", () => {
  it("asks the router for the address, then for UDP, then for TCP at the same port, one after the other", () => {
    const run = start()
    assert.deepStrictEqual(run.looked(), [{ _tag: "Send", to: uplink.gateway, request: { _tag: "Address" } }])
    const map = { _tag: "Map", internalPort: PORT, lifetimeSeconds: 600 } as const
    assert.deepStrictEqual(run.hears(address()), [
      { _tag: "Send", to: uplink.gateway, request: { ...map, protocol: "udp", externalPort: 0 } }
    ])
    const external = { host: "203.0.113.7", port: 40_000 }
    assert.deepStrictEqual(run.hears(mapped("udp")), [
      { _tag: "Opened", protocol: "udp", external, lifetimeSeconds: 600 },
      { _tag: "Send", to: uplink.gateway, request: { ...map, protocol: "tcp", externalPort: 40_000 } }
    ])
    assert.deepStrictEqual(run.hears(mapped("tcp", 40_001)), [
      { _tag: "Opened", protocol: "tcp", external: { ...external, port: 40_001 }, lifetimeSeconds: 600 }
    ])
    assert.deepStrictEqual(run.wait(299_999), [])
  })

  it("is over after UDP where nothing listens on TCP", () => {
    assert.deepStrictEqual(started(udpOnly).wait(299_999), [])
  })

  it("is not ended by answers that nobody asked for", () => {
    const run = start()
    run.looked()
    for (const stray of [mapped("udp"), mapped("tcp"), refused("udp"), refused("tcp")]) {
      assert.deepStrictEqual(run.hears(stray), [])
    }
    assert.deepStrictEqual(questions(run.hears(address())), ["udp 0"])
    for (const stray of [
      address(),
      refused("address"),
      mapped("tcp"),
      { ...mapped("udp"), internalPort: 1 as never }
    ]) {
      assert.deepStrictEqual(run.hears(stray), [])
    }
    assert.deepStrictEqual(opened(run.hears(mapped("udp"))), ["udp 40000"])
  })

  it("sends a question nine times in 128 seconds, with twice the pause each time", () => {
    const run = start()
    run.looked()
    let at = 0
    for (const pause of [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]) {
      assert.deepStrictEqual(run.wait(pause - 1), [])
      assert.deepStrictEqual(questions(run.wait(1)), ["address"])
      at += pause
    }
    assert.deepStrictEqual(run.wait(63_999), [])
    assert.deepStrictEqual(run.wait(1), [{ _tag: "Failed", question: "address", reason: "the router does not answer" }])
    assert.strictEqual(at + 64_000, 127_750)
  })

  it("begins again after one second, two, four … and a minute at most, as long as it comes to nothing", () => {
    const run = start()
    run.looked()
    const pauses = Array.from({ length: 8 }, () => {
      run.hears(refused("address"))
      const pause = dueAt(run.state()) - run.now()
      assert.deepStrictEqual(questions(run.wait(pause)), ["address"])
      return pause / 1_000
    })
    assert.deepStrictEqual(pauses, [1, 2, 4, 8, 16, 32, 60, 60])
    run.hears(address())
    run.hears(mapped("udp"))
    run.hears(mapped("tcp"))
    run.wait(300_000)
    run.hears(refused("address"))
    assert.strictEqual(dueAt(run.state()) - run.now(), 1_000)
  })

  it("says why it came to nothing", () => {
    const run = start()
    run.looked()
    assert.deepStrictEqual(run.hears(address("0.0.0.0")), [
      { _tag: "Failed", question: "address", reason: "the router has no address outside" }
    ])
    run.wait(1_000)
    run.hears(address())
    assert.deepStrictEqual(run.hears(mapped("udp", 0)), [
      { _tag: "Failed", question: "udp", reason: "the router grants no port" }
    ])
  })

  it("keeps UDP when the router refuses TCP or does not answer to it, and asks for TCP again with the next one", () => {
    for (const fail of ["refused", "silent"] as const) {
      const run = start()
      run.looked()
      run.hears(address())
      run.hears(mapped("udp"))
      const actions = fail === "refused" ? run.hears(refused("tcp", 5)) : run.wait(127_750)
      assert.deepInclude(actions.at(-1), { _tag: "Failed", question: "tcp" })
      assert.deepStrictEqual(held(run.state()), ["udp"])
      run.wait(fail === "refused" ? 300_000 : (600_000 - 127_750) / 2)
      run.hears(address())
      assert.deepStrictEqual(questions(run.hears(mapped("udp"))), ["tcp 40000"])
    }
  })
})

describe("a mapping", () => {
  it("is renewed at half of its lifetime, for the same ports, without being opened again", () => {
    const run = start()
    run.looked()
    run.hears(address())
    run.hears(mapped("udp", 40_000, 600))
    run.hears(mapped("tcp", 40_001, 120))
    assert.deepStrictEqual(questions(run.wait(60_000)), ["address"])
    assert.deepStrictEqual(questions(run.hears(address())), ["udp 40000"])
    assert.deepStrictEqual(questions(run.hears(mapped("udp"))), ["tcp 40001"])
    assert.deepStrictEqual(run.hears(mapped("tcp", 40_001)), [])
  })

  it("is renewed within the lifetime that was asked for, whatever the router grants", () => {
    for (const [lifetime, renewedAfter] of [
      [4_294_967_295, 300_000],
      [600, 300_000],
      [60, 30_000],
      [1, 1_000]
    ] as const) {
      const run = start(udpOnly)
      run.looked()
      run.hears(address())
      run.hears(mapped("udp", 40_000, lifetime))
      assert.deepStrictEqual(questions(run.wait(renewedAfter - 1)), [])
      assert.deepStrictEqual(questions(run.wait(1)), ["address"])
    }
  })

  it("is opened anew when the router gives another port or has another address", () => {
    const run = started(udpOnly)
    run.wait(300_000)
    run.hears(address())
    assert.deepStrictEqual(opened(run.hears(mapped("udp", 41_000))), ["udp 41000"])
    run.wait(300_000)
    run.hears(address("203.0.113.8"))
    assert.deepStrictEqual(run.hears(mapped("udp", 41_000)), [
      { _tag: "Opened", protocol: "udp", external: { host: "203.0.113.8", port: 41_000 }, lifetimeSeconds: 600 }
    ])
  })

  it("is held while the router is silent, until its lifetime ends", () => {
    const run = started()
    assert.deepStrictEqual(lost(run.wait(599_999)), [])
    assert.deepStrictEqual(held(run.state()), ["udp", "tcp"])
    assert.deepStrictEqual(lost(run.wait(1)), [
      "udp: the router did not renew it in time",
      "tcp: the router did not renew it in time"
    ])
    assert.deepStrictEqual(held(run.state()), [])
    run.wait(200_000)
    run.hears(address())
    assert.deepStrictEqual(questions(run.wait(250)), ["udp 40000"])
  })

  it("is lost at once when the router refuses to renew it", () => {
    const run = started()
    run.wait(300_000)
    run.hears(address())
    assert.deepStrictEqual(lost(run.hears(refused("udp", 4))), [
      "udp: the router has no room for another mapping",
      "tcp: the router has no room for another mapping"
    ])
  })

  it("of TCP alone is lost when only that is refused", () => {
    const run = started()
    run.wait(300_000)
    run.hears(address())
    run.hears(mapped("udp"))
    assert.deepStrictEqual(lost(run.hears(refused("tcp", 4))), ["tcp: the router has no room for another mapping"])
    assert.deepStrictEqual(held(run.state()), ["udp"])
  })

  it("is lost, and asked for again, when the way out changes", () => {
    const run = started()
    assert.deepStrictEqual(run.looked(), [])
    const actions = run.looked({ ...uplink, address: "192.168.1.99" })
    assert.deepStrictEqual(lost(actions), [
      "udp: the way out of this host changed",
      "tcp: the way out of this host changed"
    ])
    assert.deepStrictEqual(questions(actions), ["address"])
    assert.deepStrictEqual(questions(run.hears(address())), ["udp 0"])
  })

  it("is lost when there is no way out any more, and nothing is sent until there is one", () => {
    const run = started()
    assert.deepStrictEqual(lost(run.cutOff()).length, 2)
    assert.deepStrictEqual(run.wait(10_000_000), [])
    assert.deepStrictEqual(run.hears(address()), [])
    assert.deepStrictEqual(questions(run.looked()), ["address"])
  })
})

describe("a router", () => {
  const RESTARTED = ["udp: the router was started again", "tcp: the router was started again"]

  it("was started again when its epoch is behind by more than an eighth and two seconds", () => {
    for (const [elapsedSeconds, behindSeconds, restarted] of [
      [0, 2, false],
      [0, 2.1, true],
      [80, 12, false],
      [80, 12.1, true]
    ] as const) {
      const run = started()
      run.wait(elapsedSeconds * 1_000)
      const epoch = run.now() / 1_000 - behindSeconds
      assert.deepStrictEqual(lost(run.hears(address(undefined, epoch))), restarted ? RESTARTED : [])
    }
  })

  it("is believed in the first seconds of its life", () => {
    const run = start()
    run.looked()
    run.hears(address(undefined, 0))
    run.wait(200)
    assert.deepStrictEqual(opened(run.hears(mapped("udp", 40_000, 600, 0))), ["udp 40000"])
  })

  it("that was started again is asked for the same ports, after up to five seconds", () => {
    const run = started()
    run.hears(address(undefined, 3))
    assert.deepStrictEqual(run.wait(2_499), [])
    assert.deepStrictEqual(questions(run.wait(1)), ["address"])
    assert.deepStrictEqual(questions(run.hears(address(undefined, 6))), ["udp 40000"])
  })

  it("that announces another address is asked again at once", () => {
    const run = started()
    assert.deepStrictEqual(run.hears(address()), [])
    assert.deepStrictEqual(questions(run.hears(address("203.0.113.8"))), ["address"])
  })
})

describe("leaving", () => {
  it("ends what was granted, and what was asked for", () => {
    const end = (protocol: "udp" | "tcp") => ({
      _tag: "Map",
      protocol,
      internalPort: PORT,
      externalPort: 0,
      lifetimeSeconds: 0
    })
    const run = start()
    assert.deepStrictEqual<ReadonlyArray<unknown>>(run.farewell(), [])
    run.looked()
    assert.deepStrictEqual<ReadonlyArray<unknown>>(run.farewell(), [])
    run.hears(address())
    assert.deepStrictEqual<ReadonlyArray<unknown>>(run.farewell(), [end("udp")])
    run.hears(mapped("udp"))
    assert.deepStrictEqual<ReadonlyArray<unknown>>(run.farewell(), [end("udp"), end("tcp")])
    run.hears(refused("tcp"))
    assert.deepStrictEqual<ReadonlyArray<unknown>>(run.farewell(), [end("udp")])
  })
})

describe("whatever happens", () => {
  const Step = Schema.Struct({
    what: Schema.Literals(["wait", "address", "udp", "tcp", "refuse", "restart", "move", "leave", "look"]),
    seconds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 700 }))
  })

  it.prop(
    "what is told as open is held and not expired, there is always something due with a way out, and the router is not flooded",
    [Schema.Array(Step)],
    ([steps]) => {
      const run = start()
      const open = new Set<string>()
      let sent = 0
      const note = (actions: ReadonlyArray<Action>) => {
        for (const action of actions) {
          if (action._tag === "Opened") open.add(action.protocol)
          if (action._tag === "Lost") assert.isTrue(open.delete(action.protocol), "what was lost had been open")
          if (action._tag === "Send") sent++
        }
      }
      let waitedSeconds = 0
      for (const { what, seconds } of steps) {
        if (what === "wait") {
          note(run.wait(seconds * 1_000))
          waitedSeconds += seconds
        } else if (what === "address") note(run.hears(address(`203.0.113.${seconds % 3}`)))
        else if (what === "udp" || what === "tcp") note(run.hears(mapped(what, 40_000 + (seconds % 2), seconds)))
        else if (what === "refuse") note(run.hears(refused((["address", "udp", "tcp"] as const)[seconds % 3]!)))
        else if (what === "restart") note(run.hears(address(undefined, seconds)))
        else if (what === "move") note(run.looked({ ...uplink, address: `192.168.1.${seconds % 4}` }))
        else if (what === "look") note(run.looked())
        else note(run.cutOff())
        const state = run.state()
        assert.deepStrictEqual(held(state).sort(), [...open].sort())
        for (const { expiresAt } of Object.values(state.held)) assert.isAbove(expiresAt, run.now() - 1)
        assert.strictEqual(dueAt(state) === Number.POSITIVE_INFINITY, state.uplink === undefined)
      }
      // Each event can cause one question at once, and a second has at most three of a round and two that are repeated.
      assert.isAtMost(sent, 2 * steps.length + 5 * waitedSeconds)
    },
    { arbitrary: { runs: 300 } }
  )
})
