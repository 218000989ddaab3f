import { assert, describe, it } from "@effect/vitest"
import { inOrderOfPromise } from "../../src/peer/Candidates.ts"
import { localCandidates } from "../../src/peer/localCandidates.ts"

const at = (host: string, port = 5000) => ({ host, port })
const interfaces = [
  { address: "127.0.0.1", cidr: "127.0.0.1/8", internal: true },
  { address: "::1", cidr: "::1/128", internal: true },
  { address: "192.168.1.20", cidr: "192.168.1.20/24", internal: false },
  { address: "172.17.0.1", cidr: "172.17.0.1/16", internal: false },
  { address: "2001:db8:1::20", cidr: "2001:db8:1::20/64", internal: false },
  { address: "fe80::1", cidr: "fe80::1/64", internal: false }
]

describe("inOrderOfPromise", () => {
  it("puts our networks first, then IPv6, public, private, what both hosts have, and link-local last", () => {
    const wanted = ["192.168.1.30", "2001:db8:2::5", "203.0.113.7", "10.1.2.3", "172.17.0.1", "fe80::5"]
    const ordered = inOrderOfPromise(
      wanted.toReversed().map((host) => at(host)),
      interfaces
    )
    assert.deepStrictEqual(
      ordered.map(({ host }) => host),
      wanted
    )
  })

  it("counts this host's loopback as near, so that two clients of one machine meet at once", () => {
    assert.strictEqual(inOrderOfPromise([at("203.0.113.7"), at("127.0.0.1")], interfaces)[0]?.host, "127.0.0.1")
  })

  it("names each address once, but each port of a host", () => {
    const ordered = inOrderOfPromise([at("10.0.0.1"), at("10.0.0.1"), at("10.0.0.1", 6000)], interfaces)
    assert.deepStrictEqual(ordered, [at("10.0.0.1"), at("10.0.0.1", 6000)])
  })

  it("keeps the other side's order among equals", () => {
    const equals = ["203.0.113.9", "203.0.113.1", "203.0.113.5"].map((host) => at(host))
    assert.deepStrictEqual(inOrderOfPromise(equals, interfaces), equals)
  })

  it("takes an address that is none as the least promising, without failing", () => {
    assert.strictEqual(inOrderOfPromise([at("not an address"), at("fe80::5")], interfaces)[0]?.host, "fe80::5")
  })

  it("works on a host without any network", () => {
    assert.lengthOf(inOrderOfPromise([at("203.0.113.7"), at("2001:db8::1")], []), 2)
  })
})

describe("localCandidates", () => {
  const hosts = (bound: string, of = interfaces) => localCandidates(at(bound, 41_000), of).map(({ host }) => host)

  it("are all addresses of this host but loopback and link-local ones, with the port that was bound", () => {
    assert.deepStrictEqual(
      localCandidates(at("::", 41_000), interfaces),
      ["192.168.1.20", "172.17.0.1", "2001:db8:1::20"].map((host) => at(host, 41_000))
    )
  })

  it("are of IPv4 only when the socket is", () => {
    assert.deepStrictEqual(hosts("0.0.0.0"), ["192.168.1.20", "172.17.0.1"])
  })

  it("are just the address that the socket is bound to", () => {
    assert.deepStrictEqual(hosts("192.168.1.20"), ["192.168.1.20"])
  })

  it("are those of loopback when there is nothing else", () => {
    assert.deepStrictEqual(hosts("::", interfaces.slice(0, 2)), ["127.0.0.1", "::1"])
  })
})
