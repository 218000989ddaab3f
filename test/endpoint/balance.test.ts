/** Policies and retries, against what upstream's own dial call does (test/fixtures/balance.json) and in general. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Schema } from "effect"
import { BalancePolicy, type Balancing, type Retry } from "../../src/domain/Balancing.ts"
import {
  type Attempt,
  type Knowledge,
  type Memory,
  NO_MEMORY,
  nextStep,
  type Outcome,
  remember,
  startTurn
} from "../../src/endpoint/balance.ts"
import type { Direction, Path } from "../../src/peer/Paths.ts"

interface Case {
  readonly note: string
  readonly policy: string
  readonly retry: "" | "count" | "timed" | "all"
  readonly effective_retry_max: number
  readonly steps: ReadonlyArray<{
    readonly connections: ReadonlyArray<{ peer: string; style: Direction; relay?: string; rtt_us: number }>
    readonly failing?: ReadonlyArray<string>
    readonly open_streams_by_peer?: Readonly<Record<string, number>>
    readonly dials?: ReadonlyArray<{ readonly attempts: ReadonlyArray<string>; readonly result: string }>
    readonly attempted_set?: ReadonlyArray<string>
  }>
}

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", "balance.json"), "utf8")) as {
  readonly cases: ReadonlyArray<Case>
}

const path = (id: number, peerId: string, roundTripMillis: number, options: Partial<Path> = {}): Path => ({
  id,
  peerId,
  direction: "outgoing",
  carrier: "quic",
  address: `192.0.2.${id}:5000`,
  state: "Open",
  roundTripMillis,
  distanceMillis: roundTripMillis,
  ...options
})

const NOTHING_KNOWN: Knowledge = { connections: () => 0, standing: () => "Fine" }

interface Run {
  readonly attempts: ReadonlyArray<Path>
  readonly result: "Connected" | "Wait" | "Stop"
  readonly memory: Memory
}

/** A whole dial. What `answer` says of a path is what becomes of it; a silent path is suspect from then on. */
const dial = (options: {
  readonly balancing: Balancing
  readonly paths: ReadonlyArray<Path>
  readonly answer: (path: Path) => Outcome | "Connected"
  readonly known?: Knowledge
  readonly memory?: Memory
  readonly seed?: number
  readonly elapsedMillis?: number
}): Run => {
  const { balancing, answer, known = NOTHING_KNOWN, seed = 0.5, elapsedMillis = 0 } = options
  let { paths, memory = NO_MEMORY } = options
  if (paths.length > 0) memory = startTurn(memory)
  const tried = new Map<number, Attempt>()
  const attempts: Array<Path> = []
  while (attempts.length <= paths.length) {
    const step = nextStep(balancing, { memory, seed, tried, elapsedMillis }, known, paths)
    if (step._tag !== "Try") return { attempts, result: step._tag, memory }
    attempts.push(step.path)
    const outcome = answer(step.path)
    if (outcome === "Connected") return { attempts, result: outcome, memory: remember(memory, step.path, paths) }
    tried.set(step.path.id, { peerId: step.path.peerId, outcome })
    if (outcome === "Silent") {
      paths = paths.map((one) => (one.id === step.path.id ? { ...one, state: "Suspect" as const } : one))
    }
  }
  return assert.fail("a path was tried twice")
}

const retryOf = ({ retry, effective_retry_max: max }: Case): Retry => {
  if (retry === "") return { _tag: "Never" }
  if (retry === "count") return { _tag: "Count", destinations: max }
  return retry === "timed" ? { _tag: "Timed", millis: max } : { _tag: "All" }
}

const balancingOf = (given: Case): Balancing => ({
  policy: given.policy === "" ? "none" : Schema.decodeUnknownSync(BalancePolicy)(given.policy),
  retry: retryOf(given)
})

/** A maximum below 0 is refused when the configuration is read; upstream panics, or takes it for all. */
const comparable = cases.filter(({ effective_retry_max: max }) => max >= 0)

describe("a dial asks as upstream does", () => {
  for (const [at, given] of comparable.entries()) {
    it(`${at}: ${given.policy || "no policy"}, retry ${given.retry || "unset"} ${given.effective_retry_max}: ${given.note}`, () => {
      const balancing = balancingOf(given)
      let memory = NO_MEMORY
      for (const {
        connections,
        failing,
        open_streams_by_peer: streams = {},
        dials = [],
        attempted_set
      } of given.steps) {
        const labels = new Map<number, string>()
        const paths = connections.map(({ peer, style, relay, rtt_us }, id) => {
          labels.set(id, [peer, style, ...(relay === undefined ? [] : [relay])].join("/"))
          return path(id, peer, rtt_us / 1_000, { direction: style })
        })
        const run = (seed?: number) =>
          dial({
            balancing,
            paths,
            memory,
            known: { ...NOTHING_KNOWN, connections: (peer) => streams[peer] ?? 0 },
            answer: ({ id }) => (failing?.includes(labels.get(id)!) === false ? "Connected" : "Refused"),
            ...(seed !== undefined && { seed })
          })
        const told = ({ attempts }: Run) => attempts.map(({ id }) => labels.get(id)!)
        for (const { attempts, result } of dials) {
          const done = run()
          assert.deepStrictEqual(told(done), attempts)
          // Where upstream has nobody to ask, we wait for somebody.
          assert.strictEqual(
            done.result,
            { connected: "Connected", "all-failed": "Stop", "no-active-destinations": "Wait" }[result]
          )
          // Upstream's connections are in no order of use.
          memory = { ...done.memory, used: [] }
        }
        if (attempted_set !== undefined) {
          const first = new Map<string, number>()
          for (let at = 0; at < 3_000; at++) {
            const [label, ...others] = told(run(at / 3_000))
            assert.sameMembers([label!, ...others], [...attempted_set])
            first.set(label!, (first.get(label!) ?? 0) + 1)
          }
          for (const label of attempted_set) assert.approximately(first.get(label)!, 1_000, 150, label)
        }
      }
    })
  }
})

const POLICIES = BalancePolicy.literals.filter((policy) => policy !== "none")

describe("a dial", () => {
  const ids = ({ attempts }: Run) => attempts.map(({ id }) => id)
  const all: Retry = { _tag: "All" }

  it("takes the living path to a destination whose other one is dead, without any retry", () => {
    for (const policy of POLICIES) {
      const paths = [path(1, "a", 1), path(2, "a", 9, { direction: "relay" }), path(3, "b", 5, { state: "Suspect" })]
      const run = dial({
        balancing: { policy, retry: { _tag: "Never" } },
        paths,
        answer: ({ id }) => (id === 1 ? "Silent" : "Connected")
      })
      assert.deepStrictEqual(ids(run), [1, 2], policy)
    }
  })

  it("goes round a relay that refuses to the same destination", () => {
    const paths = [path(1, "a", 1, { direction: "relay" }), path(2, "a", 9, { direction: "relay" }), path(3, "b", 5)]
    const run = dial({
      balancing: { policy: "least-conns", retry: { _tag: "Never" } },
      paths,
      known: { ...NOTHING_KNOWN, connections: (peer) => (peer === "b" ? 1 : 0) },
      answer: ({ id }) => (id === 1 ? "Blocked" : "Connected")
    })
    assert.deepStrictEqual(ids(run), [1, 2])
  })

  it("passes over a destination that cannot be reached, also without any retry", () => {
    const run = dial({
      balancing: { policy: "least-latency", retry: { _tag: "Never" } },
      paths: [path(1, "a", 1), path(2, "b", 2)],
      answer: ({ peerId }) => (peerId === "a" ? "Silent" : "Connected")
    })
    assert.deepStrictEqual(ids(run), [1, 2])
  })

  it("stops after a refusal once the time for retries is over", () => {
    const options = { paths: [path(1, "a", 1), path(2, "b", 2)], answer: () => "Refused" as const }
    const balancing: Balancing = { policy: "least-latency", retry: { _tag: "Timed", millis: 1_000 } }
    assert.deepStrictEqual(ids(dial({ ...options, balancing, elapsedMillis: 999 })), [1, 2])
    assert.deepStrictEqual(ids(dial({ ...options, balancing, elapsedMillis: 1_000 })), [1])
  })

  it("asks who does not answer after the others, who is not listed behind those, and whose service is down last", () => {
    const standing = (peer: string) => (peer === "c" ? "Failing" : peer === "d" ? "Unlisted" : "Fine")
    for (const policy of POLICIES) {
      const run = dial({
        balancing: { policy, retry: all },
        paths: [path(1, "a", 9, { state: "Suspect" }), path(2, "b", 8), path(3, "c", 1), path(4, "d", 1)],
        known: { connections: (peer) => (peer === "b" ? 5 : 0), standing },
        answer: () => "Refused"
      })
      assert.deepStrictEqual(ids(run), [2, 1, 4, 3], policy)
    }
  })

  it("without a policy, too, takes a path to a service that is down only when no other is left", () => {
    const run = dial({
      balancing: { policy: "none", retry: all },
      paths: [path(1, "a", 1), path(2, "b", 9), path(3, "b", 50, { state: "Suspect" })],
      known: { ...NOTHING_KNOWN, standing: (peer) => (peer === "a" ? "Failing" : "Fine") },
      memory: { turn: 1, used: [1] },
      answer: () => "Refused"
    })
    assert.deepStrictEqual(ids(run), [2, 3, 1])
  })

  it("takes a silent path again once it answers, and waits until then", () => {
    const balancing: Balancing = { policy: "round-robin", retry: all }
    const tried = new Map<number, Attempt>([[1, { peerId: "a", outcome: "Silent" }]])
    const step = (state: Path["state"]) =>
      nextStep(balancing, { memory: NO_MEMORY, seed: 0, tried, elapsedMillis: 0 }, NOTHING_KNOWN, [
        path(1, "a", 1, { state })
      ])
    assert.deepStrictEqual(step("Suspect"), { _tag: "Wait" })
    assert.strictEqual(step("Open")._tag, "Try")
  })

  it("stays on the path to a destination that it used last, and forgets paths that are gone", () => {
    const paths = [path(1, "a", 30), path(2, "a", 20), path(3, "b", 1)]
    const memory = remember(remember({ turn: 0, used: [9] }, paths[2]!, paths), paths[0]!, paths)
    assert.deepStrictEqual(memory.used, [1, 3])
    const balancing: Balancing = { policy: "round-robin", retry: all }
    const answer = ({ peerId }: Path) => (peerId === "a" ? "Connected" : "Refused")
    assert.deepStrictEqual(ids(dial({ balancing, paths, memory, answer })), [3, 1])
  })
})

const { all, array, map, schema } = Arbitrary
const integer = (minimum: number, maximum: number) => schema(Schema.Int.check(Schema.isBetween({ minimum, maximum })))

/** Paths to a few destinations, each with what becomes of it; whole destinations refuse, not single paths of them. */
const worlds = map(
  all({
    policy: schema(BalancePolicy),
    retry: map(
      integer(0, 4),
      (n): Retry => (n === 0 ? { _tag: "Never" } : n === 4 ? { _tag: "All" } : { _tag: "Count", destinations: n })
    ),
    refusing: array(integer(0, 4), { maxLength: 4 }),
    paths: array(
      all({
        peer: integer(0, 4),
        roundTripMillis: integer(1, 200),
        direction: schema(Schema.Literals(["outgoing", "incoming", "relay"])),
        suspect: schema(Schema.Boolean),
        fate: schema(Schema.Literals(["Silent", "Blocked", "Connected"]))
      }),
      { maxLength: 10 }
    ),
    seed: map(integer(0, 999), (n) => n / 1_000),
    turn: integer(0, 50)
  }),
  ({ paths: drawn, refusing, turn, ...rest }) => {
    const paths = drawn.map(({ peer, roundTripMillis, direction, suspect }, id) =>
      path(id, `peer-${peer}`, roundTripMillis, { direction, state: suspect ? "Suspect" : "Open" })
    )
    const answer = ({ id, peerId }: Path) => {
      const { fate } = drawn[id]!
      return fate === "Connected" && refusing.includes(Number(peerId.slice(-1))) ? "Refused" : fate
    }
    return { ...rest, paths, answer, memory: { turn, used: [] } }
  }
)

describe("whatever the paths and their answers, a dial", () => {
  it.prop("ends, and tries no path twice", [worlds], ([{ policy, retry, ...world }]) => {
    const { attempts } = dial({ balancing: { policy, retry }, ...world })
    assert.strictEqual(new Set(attempts).size, attempts.length)
  })

  it.prop("connects whenever any destination takes it, when it asks all", [worlds], ([{ policy, ...world }]) => {
    const { result } = dial({ balancing: { policy, retry: { _tag: "All" } }, ...world })
    assert.strictEqual(
      result === "Connected",
      world.paths.some((one) => world.answer(one) === "Connected")
    )
  })

  it.prop(
    "asks no destination again that has refused, if it has a policy",
    [worlds],
    ([{ policy, retry, ...world }]) => {
      if (policy === "none") return
      const { attempts } = dial({ balancing: { policy, retry }, ...world })
      const refusals = attempts.filter((one) => world.answer(one) === "Refused").map(({ peerId }) => peerId)
      assert.strictEqual(new Set(refusals).size, refusals.length)
    }
  )

  it.prop("asks no more destinations than may answer no", [worlds], ([{ policy, retry, ...world }]) => {
    if (policy === "none" || retry._tag === "All") return
    const { attempts } = dial({ balancing: { policy, retry }, ...world })
    const answered = new Set(
      attempts.filter((one) => ["Refused", "Blocked"].includes(world.answer(one))).map(({ peerId }) => peerId)
    )
    assert.isAtMost(answered.size, retry._tag === "Count" ? retry.destinations : 1)
  })
})
