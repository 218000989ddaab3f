import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { type Answer, decode, encode, refusal } from "../../../src/peer/natpmp/NatPmp.ts"

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

const ADDRESS = "00 80 0000 00000e10 cb007107"
const MAPPED = "00 81 0000 00000e10 4af8 9c40 00000258"

describe("requests", () => {
  it("are those of RFC 6886", () => {
    assert.strictEqual(hex(encode({ _tag: "Address" })), "0000")
    const map = { _tag: "Map", internalPort: 19_192, externalPort: 40_000, lifetimeSeconds: 600 } as const
    assert.strictEqual(hex(encode({ ...map, protocol: "udp" })), "000100004af89c4000000258")
    assert.strictEqual(hex(encode({ ...map, protocol: "tcp" })), "000200004af89c4000000258")
    assert.strictEqual(
      hex(encode({ ...map, protocol: "udp", externalPort: 0, lifetimeSeconds: 0 })),
      "000100004af8000000000000"
    )
  })
})

describe("answers", () => {
  it("are read with the address, or the port and its lifetime", () => {
    assert.deepStrictEqual<Answer | undefined>(decode(bytes(ADDRESS)), {
      _tag: "Address",
      epochSeconds: 3_600,
      host: "203.0.113.7"
    })
    const mapped = {
      _tag: "Mapped",
      epochSeconds: 3_600,
      internalPort: 19_192,
      externalPort: 40_000,
      lifetimeSeconds: 600
    } as const
    assert.deepStrictEqual<Answer | undefined>(decode(bytes(MAPPED)), { ...mapped, protocol: "udp" })
    assert.deepStrictEqual<Answer | undefined>(decode(bytes(MAPPED.replace("81", "82"))), {
      ...mapped,
      protocol: "tcp"
    })
  })

  for (const [what, text] of [
    ["only a header", "00 80 0003"],
    ["all of an answer", "00 80 0003 00000000 00000000"]
  ] as const) {
    it(`are refusals with a code, as ${what}`, () => {
      assert.deepStrictEqual<Answer | undefined>(decode(bytes(text)), {
        _tag: "Refused",
        question: "address",
        code: 3
      })
    })
  }

  it("may be part of a larger buffer", () => {
    const buffer = Buffer.concat([bytes("ffff"), bytes(ADDRESS), bytes("ffff")])
    assert.deepInclude(decode(buffer.subarray(2, 14)), { host: "203.0.113.7" })
  })

  for (const [what, text] of [
    ["nothing", ""],
    ["less than a header", "00 80 00"],
    ["another version", ADDRESS.replace("00", "02")],
    ["a request", "00 00"],
    ["a request for a mapping", hex(encode({ _tag: "Address" })).padEnd(24, "0")],
    ["an operation that nobody asks for", MAPPED.replace("81", "83")],
    ["an address that is cut short", ADDRESS.slice(0, -2)],
    ["an address with more behind it", `${ADDRESS}00`],
    ["a mapping that is cut short", MAPPED.slice(0, -2)],
    ["a mapping with more behind it", `${MAPPED}00`],
    ["a mapping of the length of an address", ADDRESS.replace("80", "81")],
    ["an address of the length of a mapping", MAPPED.replace("81", "80")],
    ["a refusal with more than an answer behind it", "00 81 0002".padEnd(64, "0")]
  ] as const) {
    it(`are not in ${what}`, () => {
      assert.isUndefined(decode(bytes(text)))
    })
  }

  it.prop(
    "are what the fields of a datagram say, or nothing, for any bytes",
    [
      Schema.Struct({
        length: Schema.Literals([0, 1, 2, 3, 4, 8, 11, 12, 13, 15, 16, 17]),
        operation: Schema.Literals([0, 1, 127, 128, 129, 130, 131]),
        code: Schema.Literals([0, 1, 5, 9]),
        port: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })),
        fill: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
      })
    ],
    ([{ length, operation, code, port, fill }]) => {
      const whole = Buffer.alloc(17, fill)
      whole.set([0, operation, 0, code])
      whole.writeUInt16BE(port, 10)
      const answer = decode(whole.subarray(0, length))
      const question = (["address", "udp", "tcp"] as const)[operation - 128]
      const refused = code !== 0 && length >= 4 && length <= 16
      const answers = code === 0 && length === (question === "address" ? 12 : 16)
      assert.strictEqual(answer !== undefined, question !== undefined && (refused || answers))
      if (answer?._tag === "Refused") assert.deepStrictEqual<unknown>([answer.question, answer.code], [question, code])
      if (answer?._tag === "Address") assert.strictEqual(answer.host, whole.subarray(8, 12).join("."))
      if (answer?._tag === "Mapped")
        assert.deepStrictEqual<unknown>([answer.protocol, answer.externalPort], [question, port])
    }
  )
})

it("a refusal with a code that is not known is told with the code", () => {
  assert.match(refusal(2), /switch NAT-PMP on/)
  assert.strictEqual(refusal(77), "the router refuses with code 77")
})
