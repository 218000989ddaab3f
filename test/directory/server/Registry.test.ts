import { assert, describe, it } from "@effect/vitest"
import { empty, type Message, peersFor, type Registry, step } from "../../../src/directory/server/Registry.ts"
import type { Role } from "../../../src/domain/Role.ts"
import type { Peer } from "../../../src/protocol/ClientControl.ts"

const peer = (port: number): Peer => ({
  directs: [{ host: "192.0.2.1", port }],
  serverCertificate: new Uint8Array(),
  clientCertificate: new Uint8Array(),
  relayIds: []
})

const announced = (key: number, clientId: string, role: Role = "destination", port = key): Message => ({
  _tag: "Announced",
  registration: { key, role, clientId, connectionId: "0", metadata: "", peer: peer(port) }
})

const run = (...messages: ReadonlyArray<Message>): Registry =>
  messages.reduce((registry, message) => step(registry, message), empty)

const listed = (registry: Registry, role: Role = "source") =>
  peersFor(registry, role).map(({ id, peer }) => [id, peer.directs[0]!.port])

describe("the registry of an endpoint", () => {
  it("tells each role of the other one", () => {
    const registry = run(announced(1, "a", "destination"), announced(2, "b", "source"))
    assert.deepEqual(listed(registry, "source"), [["a", 1]])
    assert.deepEqual(listed(registry, "destination"), [["b", 2]])
  })

  it("lists a client once, with its latest registration", () => {
    assert.deepEqual(listed(run(announced(1, "a"), announced(2, "a"))), [["a", 2]])
    assert.deepEqual(listed(run(announced(2, "a"), announced(1, "a"))), [["a", 2]])
  })

  it("keeps a lost registration until it is withdrawn", () => {
    const lost = run(announced(1, "a"), { _tag: "Lost", key: 1, expiresAt: 30_000 })
    assert.deepEqual(listed(lost), [["a", 1]])
    assert.deepEqual(listed(step(lost, { _tag: "Withdrawn", key: 1 })), [])
  })

  it("forgets the lost registration of a client that announces again", () => {
    const registry = run(announced(1, "a"), { _tag: "Lost", key: 1, expiresAt: 30_000 }, announced(2, "a"))
    assert.strictEqual(registry.length, 1)
    assert.deepEqual(listed(step(registry, { _tag: "Withdrawn", key: 1 })), [["a", 2]])
  })

  it("withdraws a registration by its own key, never its successor", () => {
    const registry = run(announced(1, "a"), announced(2, "a"), { _tag: "Withdrawn", key: 1 })
    assert.deepEqual(listed(registry), [["a", 2]])
  })

  it("ignores what comes for a registration that is gone", () => {
    const registry = run({ _tag: "Updated", key: 9, peer: peer(9) }, { _tag: "Lost", key: 9, expiresAt: 1 })
    assert.deepEqual(registry, empty)
  })

  it("after any 2,000 messages lists exactly the clients that are there", () => {
    let seed = 7
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
      return seed % below
    }
    let registry = empty
    let key = 0
    // The model: for each client its registrations that were not withdrawn, and whether they are lost.
    const live = new Map<number, { client: string; lost: boolean }>()
    for (let round = 0; round < 2_000; round++) {
      const keys = [...live.keys()]
      const some = keys[random(keys.length || 1)]
      const action = random(3)
      if (action === 0 || some === undefined) {
        const client = `client-${random(5)}`
        for (const [other, { client: same, lost }] of live) if (same === client && lost) live.delete(other)
        key++
        live.set(key, { client, lost: false })
        registry = step(registry, announced(key, client))
      } else if (action === 1) {
        live.delete(some)
        registry = step(registry, { _tag: "Withdrawn", key: some })
      } else {
        live.set(some, { ...live.get(some)!, lost: true })
        registry = step(registry, { _tag: "Lost", key: some, expiresAt: round })
      }
      const latest = new Map<string, number>()
      for (const [at, { client }] of live) latest.set(client, Math.max(at, latest.get(client) ?? 0))
      assert.deepEqual(
        listed(registry),
        [...latest].sort(([a], [b]) => (a < b ? -1 : 1))
      )
    }
  })
})
