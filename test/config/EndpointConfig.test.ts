import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { destinationConfig, type EndpointDefaults, sourceConfig } from "../../src/config/EndpointConfig.ts"

const DEFAULTS: EndpointDefaults = { relayEncryptions: ["tls"], transport: "auto" }
const place = { key: "client.sources.web", origin: () => "a.toml" }

const problems = (result: Result.Result<unknown, ReadonlyArray<{ readonly message: string }>>) =>
  Result.isFailure(result) ? result.failure.map(({ message }) => message) : []
const destination = (table: Parameters<typeof destinationConfig>[0]) =>
  destinationConfig(table, DEFAULTS, { ...place, key: "client.destinations.web" })
const source = (table: Parameters<typeof sourceConfig>[0]) => sourceConfig(table, DEFAULTS, place)

const CERTIFICATE = { "cert-file": "cert.pem", "key-file": "key.pem" }

describe("a destination", () => {
  it("trusts the system's roots, those of a file, or anyone", () => {
    for (const [file, trust] of [
      [undefined, "system"],
      ["ca.pem", { file: "ca.pem" }],
      ["insecure-skip-verify", "anyone"]
    ] as const) {
      const result = destination({ url: "tls://h:1", ...(file !== undefined && { "cas-file": file }) })
      assert.deepStrictEqual(Result.getOrThrow(result).trust, trust)
    }
  })

  it("may have a certificate of its own, with its key", () => {
    assert.deepStrictEqual(Result.getOrThrow(destination({ url: "tls://h:1", ...CERTIFICATE })).certificate, {
      certificateFile: "cert.pem",
      keyFile: "key.pem"
    })
    assert.deepStrictEqual(problems(destination({ url: "tls://h:1", "cert-file": "cert.pem" })), [
      "a.toml: client.destinations.web.key-file: there is none for the certificate in cert-file; name the file of its key"
    ])
    assert.deepStrictEqual(problems(destination({ url: "tls://h:1", "key-file": "key.pem" })), [
      "a.toml: client.destinations.web.cert-file: there is none for the key in key-file; name the file of its certificate"
    ])
  })

  it("without TLS has no files for it", () => {
    assert.deepStrictEqual(problems(destination({ url: "unix:/a", "cas-file": "ca.pem", ...CERTIFICATE })), [
      "a.toml: client.destinations.web.cas-file: unix URLs have no TLS; leave it out, or write tls://host:port as the url",
      "a.toml: client.destinations.web.cert-file: unix URLs have no TLS; leave it out, or write tls://host:port as the url",
      "a.toml: client.destinations.web.key-file: unix URLs have no TLS; leave it out, or write tls://host:port as the url"
    ])
  })

  it("asks for a PROXY header of a version that there is", () => {
    assert.strictEqual(
      Result.getOrThrow(destination({ url: "tcp://h:1", "proxy-proto-version": "v2" })).proxyHeader,
      "v2"
    )
    assert.deepStrictEqual(problems(destination({ url: "tcp://h:1", "proxy-proto-version": "v3" })), [
      'a.toml: client.destinations.web.proxy-proto-version: "v3" is not a version of the PROXY protocol; did you mean "v1"? Else write "v1" or "v2"'
    ])
  })

  it("tells of its health and takes first bytes early, unless that is disabled; where it means nothing it is refused", () => {
    const { health, earlyData } = Result.getOrThrow(destination({ url: "tcp://h:1" }))
    assert.deepStrictEqual([health, earlyData], [true, true])
    const disabled = { "health-disable": true, "early-data-disable": true }
    const off = Result.getOrThrow(destination({ url: "tcp://h:1", ...disabled }))
    assert.deepStrictEqual([off.health, off.earlyData], [false, false])
    assert.deepStrictEqual(problems(destination({ url: "file:.", ...disabled })), [
      "a.toml: client.destinations.web.health-disable: there is no service that could be down; leave it out"
    ])
    assert.deepStrictEqual(problems(destination({ url: "tcp://h:1", "proxy-proto-version": "v1", ...disabled })), [
      "a.toml: client.destinations.web.early-data-disable: with proxy-proto-version nothing is sent early anyway; leave it out"
    ])
  })
})

describe("a source", () => {
  it("at tls:// needs a certificate, and may ask users for theirs", () => {
    assert.deepStrictEqual(problems(source({ url: "tls://:1" })), [
      "a.toml: client.sources.web.cert-file: a source at tls:// needs a certificate; set cert-file and key-file"
    ])
    const mutual = source({ url: "tls://:1", "cas-file": "ca.pem", ...CERTIFICATE })
    assert.strictEqual(Result.getOrThrow(mutual).authoritiesFile, "ca.pem")
    assert.deepStrictEqual(problems(source({ url: "tls://:1", "cas-file": "insecure-skip-verify", ...CERTIFICATE })), [
      "a.toml: client.sources.web.cas-file: users are not asked for certificates unless it names a file; leave it out"
    ])
  })

  it("retries with upstream's defaults", () => {
    for (const [retry, max, expected] of [
      [undefined, undefined, { _tag: "Never" }],
      ["count", undefined, { _tag: "Count", destinations: 2 }],
      ["count", 5n, { _tag: "Count", destinations: 5 }],
      ["timed", undefined, { _tag: "Timed", millis: 1_000 }],
      ["timed", 7n, { _tag: "Timed", millis: 7 }],
      ["all", undefined, { _tag: "All" }]
    ] as const) {
      const table = {
        url: "tcp://:1",
        "lb-policy": "random",
        ...(retry !== undefined && { "lb-retry": retry }),
        ...(max !== undefined && { "lb-retry-max": max })
      }
      assert.deepStrictEqual(Result.getOrThrow(source(table)).balancing, { policy: "random", retry: expected })
    }
    assert.deepStrictEqual(Result.getOrThrow(source({ url: "tcp://:1" })).balancing, {
      policy: "none",
      retry: { _tag: "All" }
    })
  })

  it("has no setting for retries that would do nothing", () => {
    assert.deepStrictEqual(problems(source({ url: "tcp://:1", "lb-retry": "all", "lb-retry-max": 2n })), [
      "a.toml: client.sources.web.lb-retry: without lb-policy every path is tried; set lb-policy, or leave it out",
      'a.toml: client.sources.web.lb-retry-max: it is for lb-retry = "count" and "timed" only; leave it out'
    ])
    assert.deepStrictEqual(problems(source({ url: "tcp://:1", "lb-policy": "none" })), [
      'a.toml: client.sources.web.lb-policy: "none" is not a policy; write "least-latency", "least-conns", "round-robin" or "random"'
    ])
    assert.match(
      problems(source({ url: "tcp://:1", "lb-policy": "random", "lb-retry": "count", "lb-retry-max": -1n }))[0] ?? "",
      /-1 is not possible; write a whole number from 1 to/
    )
  })
})
