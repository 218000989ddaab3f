/** Bytes from anybody: a typed error or a value, never a throw. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Redacted, Result } from "effect"
import * as ClientControl from "../../src/protocol/ClientControl.ts"
import * as ClientRelay from "../../src/protocol/ClientRelay.ts"
import type { Codec } from "../../src/protocol/Codec.ts"
import * as Connect from "../../src/protocol/Connect.ts"
import { ProtocolError } from "../../src/protocol/ProtocolError.ts"
import * as RelayControl from "../../src/protocol/RelayControl.ts"
import { full } from "../full.ts"

const { messages } = JSON.parse(readFileSync(new URL("../fixtures/messages.json", import.meta.url), "utf8"))

const CODECS = [
  ClientControl.authenticateRequest,
  ClientControl.authenticateResponse,
  ClientControl.request,
  ClientControl.response,
  ClientRelay.authenticateRequest,
  ClientRelay.authenticateResponse,
  Connect.connectRequest,
  Connect.connectResponse,
  RelayControl.authenticateRequest,
  RelayControl.authenticateResponse,
  RelayControl.clientAuthentication
] as unknown as ReadonlyArray<Codec<unknown>>

/** A small generator with a fixed seed (mulberry32), so that a failure can be repeated. */
const random = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}

const reason = <A>(result: Result.Result<A, ProtocolError>) =>
  Result.isFailure(result) ? result.failure.reason._tag : "accepted"

const valid = Buffer.from(
  messages.find(({ name }: { name: string }) => name === "announce, source with candidates and relays").bytes,
  "hex"
)

const MUTATIONS = full(100_000, 20_000)

describe("malformed messages", () => {
  it(`${MUTATIONS} random mutations of real messages are errors or values`, () => {
    const next = random(42)
    const samples: Array<Buffer> = messages
      .map(({ bytes }: { bytes: string }) => Buffer.from(bytes, "hex"))
      .filter((bytes: Buffer) => bytes.length > 0 && bytes.length < 4096)
    let refused = 0
    for (let round = 0; round < MUTATIONS; round++) {
      const bytes = Buffer.from(samples[Math.floor(next() * samples.length)]!)
      for (let flips = 1 + Math.floor(next() * 4); flips > 0; flips--) {
        bytes[Math.floor(next() * bytes.length)] = Math.floor(next() * 256)
      }
      const cut = next() < 0.2 ? bytes.subarray(0, Math.floor(next() * bytes.length)) : bytes
      const result = CODECS[round % CODECS.length]!.decode(cut)
      if (Result.isFailure(result)) {
        assert.instanceOf(result.failure, ProtocolError)
        refused++
      }
    }
    assert.isAbove(refused, 10_000)
    assert.isBelow(refused, MUTATIONS)
  }, 60_000)

  it("a request that is cut anywhere is refused, or ends before its last part", () => {
    const whole = Result.getOrThrow(ClientControl.request.decode(valid))
    for (let length = 1; length < valid.length; length++) {
      const result = ClientControl.request.decode(valid.subarray(0, length))
      if (Result.isSuccess(result)) assert.notDeepEqual(result.success, whole)
      else assert.include(["Malformed", "ValueRefused"], result.failure.reason._tag)
    }
  })

  it("missing parts are refused by name", () => {
    const announce = (name: string) =>
      ClientControl.request.decode(
        Buffer.from(messages.find((message: { name: string }) => message.name === name).bytes, "hex")
      )
    assert.strictEqual(reason(announce("announce, empty sub-message (crashes upstream's control)")), "ValueRefused")
    assert.strictEqual(reason(announce("announce, endpoint present but empty, empty peer")), "ValueRefused")
    assert.strictEqual(reason(announce("relay request, empty sub-message")), "ValueRefused")
    const result = announce("announce, empty sub-message (crashes upstream's control)")
    if (Result.isFailure(result)) assert.match(result.failure.message, /client\.Request, endpoint/)
  })

  it("a role that nobody knows is refused", () => {
    const bytes = Buffer.from("0a02104d", "hex")
    assert.strictEqual(reason(ClientControl.request.decode(bytes)), "ValueRefused")
  })

  it("text that is not UTF-8 is refused", () => {
    assert.strictEqual(reason(ClientControl.authenticateRequest.decode(Buffer.from("0a02fffe", "hex"))), "Malformed")
  })

  it("of too many candidates and relay ids the first ones are taken", () => {
    const announce = Result.getOrThrow(ClientControl.request.decode(valid))
    if (announce._tag !== "Announce") throw new Error("not an announcement")
    const directs = Array.from({ length: 1000 }, (_, at) => ({ host: "192.0.2.1", port: at + 1 }))
    const relayIds = Array.from({ length: 1000 }, (_, at) => `relay-${at}`)
    const many = { ...announce, peer: { ...announce.peer, directs, relayIds } }
    const read = Result.getOrThrow(ClientControl.request.decode(ClientControl.request.encode(many)))
    if (read._tag !== "Announce") throw new Error("not an announcement")
    assert.deepEqual(read.peer.directs, directs.slice(0, ClientControl.MAX_DIRECTS))
    assert.deepEqual(read.peer.relayIds, relayIds.slice(0, ClientControl.MAX_RELAYS))
  })

  it("of too many peers the first ones are taken, and the others counted", () => {
    const announce = Result.getOrThrow(ClientControl.request.decode(valid))
    if (announce._tag !== "Announce") throw new Error("not an announcement")
    const peers = Array.from({ length: ClientControl.MAX_PEERS + 5 }, (_, at) => ({
      id: `peer-${at}`,
      // Only the first is usable: the others cost nothing to check.
      peer: at === 0 ? announce.peer : { ...announce.peer, serverCertificate: new Uint8Array() },
      metadata: ""
    }))
    const bytes = ClientControl.response.encode({ _tag: "Announced", peers })
    const read = Result.getOrThrow(ClientControl.response.decode(bytes))
    if (read._tag !== "Announced") throw new Error("not a list of peers")
    assert.deepEqual(
      read.peers.map(({ id }) => id),
      ["peer-0"]
    )
    assert.strictEqual(read.leftOut, ClientControl.MAX_PEERS + 4)
  })

  it("text, tokens and certificates beyond their limits are refused", () => {
    const hello = { token: Redacted.make("t"), reconnectToken: new Uint8Array(), buildVersion: "", metadata: "" }
    for (const [change, path] of [
      [{ metadata: "m".repeat(4097) }, "metadata"],
      [{ token: Redacted.make("t".repeat(4097)) }, "token"],
      [{ buildVersion: "v".repeat(257) }, "buildVersion"],
      [{ reconnectToken: new Uint8Array(4097) }, "reconnectToken"]
    ] as const) {
      const bytes = ClientControl.authenticateRequest.encode({ ...hello, ...change })
      const result = ClientControl.authenticateRequest.decode(bytes)
      assert.isTrue(Result.isFailure(result))
      if (Result.isFailure(result)) {
        assert.deepInclude(result.failure.reason, { _tag: "ValueRefused", path })
        assert.notInclude(result.failure.message, "tttt")
      }
    }
  })

  it("an explanation is cut to its limit, and stays text", () => {
    const message = `x${"\u{1f9ed}".repeat(5000)}`
    const bytes = ClientRelay.authenticateResponse.encode({ _tag: "Refused", code: 100, message })
    const read = Result.getOrThrow(ClientRelay.authenticateResponse.decode(bytes))
    if (read._tag !== "Refused") throw new Error("not refused")
    assert.isAtMost(read.message.length, 4096)
    assert.isTrue(read.message.isWellFormed())
  })

  it("members that only newer programs know are ignored", () => {
    // Field 1000, a number; field 1001, text.
    const extension = Buffer.concat([Buffer.from("c03e07", "hex"), Buffer.from("ca3e036e6577", "hex")])
    assert.deepEqual(
      ClientControl.request.decode(Buffer.concat([valid, extension])),
      ClientControl.request.decode(valid)
    )
    assert.deepEqual(Connect.connectRequest.decode(extension), Result.succeed({ _tag: "Check" }))
  })

  it("what is kept does not keep the message it came in", () => {
    const bytes = Buffer.from(valid)
    const read = Result.getOrThrow(ClientControl.request.decode(bytes))
    if (read._tag !== "Announce") throw new Error("not an announcement")
    assert.notStrictEqual(read.peer.serverCertificate.buffer, bytes.buffer)
    assert.notStrictEqual(read.peer.clientCertificate.buffer, bytes.buffer)
  })

  it("a relay is offered under the addresses that can be dialed, literals without brackets", () => {
    const announce = Result.getOrThrow(ClientControl.request.decode(valid))
    if (announce._tag !== "Announce") throw new Error("not an announcement")
    const addresses = [
      { host: "[2001:db8::1]", port: 19191 },
      { host: "", port: 19191 },
      { host: "relay.example.test", port: 70_000 },
      { host: "relay.example.test", port: 443 }
    ]
    const relay = {
      id: "r",
      addresses,
      serverCertificate: announce.peer.serverCertificate,
      authentication: new Uint8Array(),
      metadata: "",
      carriers: ["quic"] as const
    }
    const bytes = ClientControl.response.encode({ _tag: "Relays", relays: [relay] })
    const read = Result.getOrThrow(ClientControl.response.decode(bytes))
    const usable = [
      { host: "2001:db8::1", port: 19191 },
      { host: "relay.example.test", port: 443 }
    ]
    assert.deepEqual(read, { _tag: "Relays", relays: [{ ...relay, addresses: usable }] })
  })

  it("a peer that cannot be used does not hide the others", () => {
    const three = messages.find(({ name }: { name: string }) => name.startsWith("announce response, three peers")).bytes
    const result = Result.getOrThrow(ClientControl.response.decode(Buffer.from(three, "hex")))
    assert.strictEqual(result._tag, "Announced")
    if (result._tag === "Announced") assert.strictEqual(result.peers.length, 2)
  })

  it("a token does not show in what is printed", () => {
    const request = { token: Redacted.make("secret"), reconnectToken: new Uint8Array(), buildVersion: "", metadata: "" }
    const decoded = Result.getOrThrow(
      ClientControl.authenticateRequest.decode(ClientControl.authenticateRequest.encode(request))
    )
    assert.notInclude(JSON.stringify(decoded), "secret")
    assert.strictEqual(Redacted.value(decoded.token), "secret")
  })
})
