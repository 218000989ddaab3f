/** What upstream writes and reads, byte for byte (test/fixtures/messages.json, names.json). */
import { readFileSync } from "node:fs"
import { PassThrough } from "node:stream"
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { certificateKey } from "../../src/certs/certificateKey.ts"
import * as base32hex from "../../src/domain/base32hex.ts"
import * as SocketAddress from "../../src/domain/SocketAddress.ts"
import type { FrameWidth } from "../../src/protocol/Alpn.ts"
import * as ClientControl from "../../src/protocol/ClientControl.ts"
import * as ClientRelay from "../../src/protocol/ClientRelay.ts"
import type { Codec } from "../../src/protocol/Codec.ts"
import * as Connect from "../../src/protocol/Connect.ts"
import { ErrorCode } from "../../src/protocol/ErrorCode.ts"
import { encodeFrame, MAX_MESSAGE_BYTES } from "../../src/protocol/Frame.ts"
import * as client from "../../src/protocol/gen/client_pb.js"
import * as clientRelay from "../../src/protocol/gen/client_relay_pb.js"
import * as connect from "../../src/protocol/gen/connect_pb.js"
import * as error from "../../src/protocol/gen/error_pb.js"
import * as model from "../../src/protocol/gen/model_pb.js"
import * as relay from "../../src/protocol/gen/relay_pb.js"
import { receive } from "../../src/protocol/MessageStream.ts"
import * as RelayControl from "../../src/protocol/RelayControl.ts"
import { readAddress } from "../../src/protocol/values.ts"

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"))
const messages = fixture("messages.json")
const names = fixture("names.json")
const hex = (text: string) => Buffer.from(text, "hex")

const DESCRIPTIONS: Record<string, DescMessage> = {
  "client.AuthenticateReq": client.AuthenticateReqSchema,
  "client.AuthenticateResp": client.AuthenticateRespSchema,
  "client.Peer": client.PeerSchema,
  "client.Request": client.RequestSchema,
  "client.Response": client.ResponseSchema,
  "client_relay.AuthenticateReq": clientRelay.AuthenticateReqSchema,
  "client_relay.AuthenticateResp": clientRelay.AuthenticateRespSchema,
  "connect.Request": connect.RequestSchema,
  "connect.Response": connect.ResponseSchema,
  "error.Error": error.ErrorSchema,
  "model.Addr": model.AddrSchema,
  "model.AddrPort": model.AddrPortSchema,
  "model.Endpoint": model.EndpointSchema,
  "model.HostPort": model.HostPortSchema,
  "relay.AuthenticateReq": relay.AuthenticateReqSchema,
  "relay.AuthenticateResp": relay.AuthenticateRespSchema,
  "relay.ClientAuthentication": relay.ClientAuthenticationSchema
}

const CODECS: Record<string, Codec<unknown>> = {
  "client.AuthenticateReq": ClientControl.authenticateRequest as Codec<unknown>,
  "client.AuthenticateResp": ClientControl.authenticateResponse as Codec<unknown>,
  "client.Request": ClientControl.request as Codec<unknown>,
  "client.Response": ClientControl.response as Codec<unknown>,
  "client_relay.AuthenticateReq": ClientRelay.authenticateRequest as Codec<unknown>,
  "client_relay.AuthenticateResp": ClientRelay.authenticateResponse as Codec<unknown>,
  "connect.Request": Connect.connectRequest as Codec<unknown>,
  "connect.Response": Connect.connectResponse as Codec<unknown>,
  "relay.AuthenticateReq": RelayControl.authenticateRequest as Codec<unknown>,
  "relay.AuthenticateResp": RelayControl.authenticateResponse as Codec<unknown>,
  "relay.ClientAuthentication": RelayControl.clientAuthentication as Codec<unknown>
}

/** The fixtures' way of writing a message: names as in the .proto, bytes as hex, enums as numbers, defaults left out. */
const plain = (value: unknown): unknown => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex")
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== "object") return value
  const entries = Object.entries(value).flatMap(([key, member]) => {
    const isDefault =
      member === undefined || member === "" || member === 0 || (member as { length?: number }).length === 0
    if (key.startsWith("$") || isDefault) return []
    return [[key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), plain(member)]]
  })
  return Object.fromEntries(entries)
}

const normal = (json: unknown): unknown =>
  JSON.parse(JSON.stringify(json, (_key, value) => (value === "" || value === 0 ? undefined : value)))

/** Upstream writes or takes these; here they are refused, because of the value at this path. */
const REFUSED: Record<string, string> = {
  "auth response, empty": "publicAddress",
  "announce, unicode endpoint, small placeholder certificates": "peer.serverCertificate",
  "announce, empty sub-message (crashes upstream's control)": "endpoint",
  "announce, endpoint present but empty, empty peer": "endpoint",
  "announce, large lists": "peer.serverCertificate",
  "announce, empty relay id in list": "peer.serverCertificate",
  "relay request, empty sub-message": "endpoint",
  "request with both members set": "peer",
  "response, empty": "",
  "relay auth request, empty": "serverCertificate",
  "relay auth response, empty": "controlId",
  "client authentication, empty": "endpoint",
  "client authentication, empty endpoint name": "endpoint",
  "connect, empty parameter messages": "tls.clientName"
}

/** Entries of a list that are left out: no peer part, or certificates that are none. */
const LEFT_OUT: Record<string, number> = {
  "announce response, three peers (one without a peer part)": 1,
  "announce response, sixty peers": 60,
  "relay response, relay without addresses": 1
}

describe("messages as upstream writes them", () => {
  for (const { name, type, json, bytes, frame4, frame8 } of messages.messages) {
    const description = DESCRIPTIONS[type]!
    it(`${name}: is read, and written again as the same bytes`, () => {
      const message = fromBinary(description, hex(bytes))
      assert.deepEqual(normal(plain(message)), normal(json))
      assert.strictEqual(
        Buffer.from(toBinary(description, create(description, message as never))).toString("hex"),
        bytes
      )
      for (const [frame, width] of [
        [frame4, 4],
        [frame8, 8]
      ] as const) {
        if (frame !== undefined) assert.strictEqual(encodeFrame(hex(bytes), width).toString("hex"), frame)
      }
    })
    const codec = CODECS[type]
    if (codec === undefined) continue
    const refusal = REFUSED[name]
    it(`${name}: ${refusal ? "is refused at the border" : "what the border accepts, it writes so that it reads the same again"}`, () => {
      const first = codec.decode(hex(bytes))
      if (refusal !== undefined) {
        assert.isTrue(Result.isFailure(first))
        if (Result.isFailure(first)) assert.deepInclude(first.failure.reason, { _tag: "ValueRefused", path: refusal })
        return
      }
      const { leftOut, ...value } = Result.getOrThrow(first) as { readonly leftOut?: number }
      assert.strictEqual(leftOut, LEFT_OUT[name])
      assert.deepEqual(Result.getOrThrow(codec.decode(codec.encode(value))), value)
    })
  }
})

describe("odd encodings", () => {
  for (const { note, type, bytes, ok, json } of messages.decode) {
    it(`${type}: ${note}`, () => {
      const description = DESCRIPTIONS[type]!
      const read = () => fromBinary(description, hex(bytes))
      if (!ok) assert.throws(read)
      else if (note === "known field with another wire type is treated as unknown") assert.throws(read)
      else assert.deepEqual(normal(plain(read())), normal(json))
    })
  }
})

describe("frames", () => {
  const REASON: Record<string, string> = {
    eof: "StreamEnded",
    "unexpected-eof": "FrameTruncated",
    "bad-message": "Malformed",
    "too-big": "FrameTooLarge",
    panic: "FrameTooLarge"
  }
  /** `error.Error` has no codec of its own: it is read as the first member of an answer. */
  const errorCodec: Codec<Connect.ConnectResponse> = {
    ...Connect.connectResponse,
    decode: (bytes) => Connect.connectResponse.decode(Buffer.concat([Buffer.from([0x0a, bytes.length]), bytes]))
  }
  for (const { note, prefix_bytes, bytes, ok, failure, json, left_over } of messages.frames) {
    it.effect(`${prefix_bytes} byte prefix: ${note}`, () =>
      Effect.gen(function* () {
        const stream = new PassThrough()
        stream.end(hex(bytes))
        const options = { width: prefix_bytes as FrameWidth, limit: MAX_MESSAGE_BYTES }
        const result = yield* Effect.result(receive(stream, errorCodec, options))
        if (ok) {
          const { code, message } = { code: 0, message: "", ...json }
          assert.deepEqual(Result.getOrThrow(result), { _tag: "Refused", code, message })
          assert.strictEqual((stream.read()?.toString("hex") as string | undefined) ?? "", left_over)
        } else {
          assert.isTrue(Result.isFailure(result))
          const expected = note === "prefix only" ? "FrameTruncated" : REASON[failure]
          if (Result.isFailure(result)) assert.strictEqual(result.failure.reason._tag, expected)
        }
      })
    )
  }
})

describe("addresses", () => {
  for (const { text, json, bytes } of messages.addr_port.encode) {
    it(`${text} is read from the bytes, without zone and unmapped`, () => {
      const address = readAddress(fromBinary(model.AddrPortSchema, hex(bytes)))!
      const expected = text.replace("[::ffff:192.0.2.1]", "192.0.2.1").replace("%eth0", "")
      assert.strictEqual(SocketAddress.format(address), expected)
      assert.isDefined(json)
    })
  }
  for (const { note, bytes, ok } of messages.addr_port.decode) {
    it(`a candidate with ${note} ${ok && !/65536|70000|absent/.test(note) ? "can" : "cannot"} be dialed`, () => {
      const addrPort = fromBinary(model.AddrPortSchema, hex(bytes))
      const response = create(client.AuthenticateRespSchema, { public: addrPort })
      const decoded = ClientControl.authenticateResponse.decode(toBinary(client.AuthenticateRespSchema, response))
      // Upstream keeps the low 16 bits of a port; a port that is none is refused here.
      assert.strictEqual(Result.isSuccess(decoded), ok && !/65536|70000|absent/.test(note))
    })
  }
})

describe("names", () => {
  it("base32hex is written as upstream writes it", () => {
    for (const { bytes, text } of names.encode) assert.strictEqual(base32hex.encode(hex(bytes)), text)
  })
  it("the key of a certificate is upstream's", () => {
    for (const { der, certificate_key } of names.certificate_keys) {
      assert.strictEqual(certificateKey(hex(der)), certificate_key)
    }
  })
  it("every error code is upstream's", () => {
    const expected = messages.enums["error.Code"] as Record<string, number>
    assert.deepEqual(Object.entries(ErrorCode).sort(), Object.entries(expected).sort())
  })
})
