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

describe("malformed messages", () => {
  it("100,000 random mutations of real messages are errors or values", () => {
    const next = random(42)
    const samples: Array<Buffer> = messages
      .map(({ bytes }: { bytes: string }) => Buffer.from(bytes, "hex"))
      .filter((bytes: Buffer) => bytes.length > 0 && bytes.length < 4096)
    let refused = 0
    for (let round = 0; round < 100_000; round++) {
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
    assert.isBelow(refused, 100_000)
  }, 60_000)

  it("a request cut anywhere is refused, or lacks a part", () => {
    for (let length = 1; length < valid.length; length++) {
      const result = ClientControl.request.decode(valid.subarray(0, length))
      if (Result.isSuccess(result)) assert.deepEqual(Object.keys(result.success.valueOf()).includes("_tag"), true)
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

  it("a list longer than its limit is refused", () => {
    const directs = Buffer.concat(Array.from({ length: 65 }, () => Buffer.from("1a0a0a060a04c00002011050", "hex")))
    assert.isAbove(directs.length, 64)
    const result = Result.getOrThrow(ClientControl.request.decode(valid))
    if (result._tag !== "Announce") throw new Error("not an announce")
    const many = { ...result, peer: { ...result.peer, directs: Array(65).fill({ host: "192.0.2.1", port: 80 }) } }
    assert.strictEqual(reason(ClientControl.request.decode(ClientControl.request.encode(many))), "ValueRefused")
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
