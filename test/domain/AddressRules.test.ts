import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { ANY_ADDRESS, makeAddressRules, makeGate, parseAddressRange } from "../../src/domain/AddressRules.ts"

const fixture = (name: string) => JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", name), "utf8"))

const { ip } = fixture("restrictions.json") as {
  readonly ip: ReadonlyArray<{
    readonly note: string
    readonly allow: ReadonlyArray<string>
    readonly deny: ReadonlyArray<string>
    readonly parses: boolean
    readonly checks?: ReadonlyArray<{ readonly address: string; readonly allowed: boolean }>
  }>
}

const { cidrs } = fixture("config.json") as {
  readonly cidrs: ReadonlyArray<{ readonly text: string; readonly ok: boolean; readonly prefix: string }>
}

const rules = (allow: ReadonlyArray<string>, deny: ReadonlyArray<string> = []) => {
  const parse = (texts: ReadonlyArray<string>) => texts.map((text) => Result.getOrThrow(parseAddressRange(text)))
  return makeAddressRules(parse(allow), parse(deny))
}

/** Where we decide otherwise than upstream: by the lists, then by the address. */
const OTHERWISE: Readonly<Record<string, Readonly<Record<string, boolean>>>> = {
  "v4-mapped bare address in deny never matches": { "192.0.2.1": false, "::ffff:192.0.2.1": false },
  "v4-mapped prefix in deny never matches": { "192.0.2.1": false, "::ffff:192.0.2.1": false },
  "v4-mapped prefix in allow admits nobody": { "192.0.2.1": true, "::ffff:192.0.2.1": true },
  "deny link-local: an address with a zone is never matched": { "fe80::1%eth0": false },
  "allow link-local: an address with a zone is never admitted": { "fe80::1%eth0": true },
  "allow v6 any: an address with a zone is not admitted": { "fe80::1%eth0": true },
  "bare address with a zone: the zone is dropped when parsing": { "fe80::1%eth0": true }
}

/** What upstream makes of these, nobody means. */
const RANGES: Readonly<Record<string, string | undefined>> = {
  "::ffff:10.0.0.1": "10.0.0.1/32",
  "::ffff:10.0.0.0/104": "10.0.0.0/8",
  // Upstream takes it for one address.
  "fe80::1%eth0/64": undefined
}

describe("address rules", () => {
  for (const { note, allow, deny, parses, checks = [] } of ip) {
    const other = OTHERWISE[note]
    it(`${note} (${[...allow, "but not", ...deny].join(" ")})${other === undefined ? "" : ": as it is meant, not as upstream"}`, () => {
      if (!parses) return assert.isTrue([...allow, ...deny].map(parseAddressRange).some(Result.isFailure))
      const decided = checks.map(({ address }) => [address, rules(allow, deny).allows(address)])
      assert.deepEqual(
        decided,
        checks.map(({ address, allowed }) => [address, other?.[address] ?? allowed])
      )
    })
  }

  it("differ from upstream only where the recorded cases do", () => {
    assert.deepEqual(
      Object.keys(OTHERWISE).filter((note) => !ip.some((recorded) => recorded.note === note)),
      []
    )
  })

  for (const { text, ok, prefix } of cidrs) {
    const expected = text in RANGES ? RANGES[text] : ok ? prefix : undefined
    it(`${JSON.stringify(text)} is ${expected ?? "refused, with what to write"}`, () => {
      const parsed = parseAddressRange(text)
      if (Result.isFailure(parsed)) {
        assert.isUndefined(expected)
        assert.include(parsed.failure, `"${text}" `)
        assert.include(parsed.failure, "; write ")
      } else {
        assert.equal(rules([text]).allow[0], expected)
      }
    })
  }

  it("a v4-mapped entry is the IPv4 one, however it is written", () => {
    assert.deepEqual(rules(["0:0:0:0:0:FFFF:A00:1", "::ffff:a00:0/104"]).allow, ["10.0.0.1/32", "10.0.0.0/8"])
  })

  it("a v4-mapped range that holds more than IPv4 is refused", () => {
    assert.match(String(parseAddressRange("::ffff:10.0.0.0/64")), /write them as IPv4/)
  })

  it("of a gate may be replaced", () => {
    const { admits, replace } = makeGate(rules([], ["10.0.0.0/8"]))
    assert.deepEqual(["10.0.0.1", "192.0.2.1"].map(admits), [false, true])
    replace(rules(["10.0.0.0/8"]))
    assert.deepEqual(["10.0.0.1", "192.0.2.1"].map(admits), [true, false])
  })

  it("what is no address may only where everybody may", () => {
    assert.isTrue(ANY_ADDRESS.allows("localhost"))
    assert.isFalse(rules(["0.0.0.0/0", "::/0"]).allows("localhost"))
  })

  it("a range is made of bits, not of bytes", () => {
    const half = rules(["2001:db8::/33", "192.0.2.128/25"])
    assert.deepEqual(["2001:db8:7fff::1", "2001:db8:8000::1", "192.0.2.128", "192.0.2.127"].map(half.allows), [
      true,
      false,
      true,
      false
    ])
  })
})
