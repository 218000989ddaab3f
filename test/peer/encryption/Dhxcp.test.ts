/** `dhxcp` against what upstream computes, sends and accepts. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { Duplex, type Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as Dhxcp from "../../../src/peer/encryption/Dhxcp.ts"
import { dhxcpStream } from "../../../src/peer/encryption/dhxcpStream.ts"

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url), "utf8"))
const golden = fixture("dhxcp.json")
const certificates: ReadonlyArray<{ name: string; der: string }> = fixture("certs.json").certs
const der = (name: string) => hex(certificates.find((it) => it.name === name)!.der)

const hex = (text: string) => Buffer.from(text, "hex")
const toHex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex")
const pattern = (start: number, length: number) =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (start + 7 * i) % 251))

/** An Ed25519 seed as PEM (RFC 8410). */
const signingKeyPem = (seed: string) => {
  const pkcs8 = Buffer.concat([hex("302e020100300506032b657004220420"), hex(seed)])
  return `-----BEGIN PRIVATE KEY-----\n${pkcs8.toString("base64")}\n-----END PRIVATE KEY-----\n`
}

interface Side {
  readonly private: string
  readonly public: string
  readonly unix_nanos: number
  readonly key_time: string
  readonly ed25519_seed: string
  readonly signature: string
}

const ownKey = (side: Side) =>
  Dhxcp.makeOwnKey(
    {
      clientName: "name",
      signingKeyPem: signingKeyPem(side.ed25519_seed),
      nowNanos: hex(side.key_time).readBigUInt64BE(32)
    },
    hex(side.private)
  )

/** A stream that gives these bytes, in pieces, and keeps what is written to it. */
const wire = (incoming: Uint8Array = new Uint8Array(), piece = incoming.length) => {
  const written: Array<Buffer> = []
  let at = 0
  const stream = new Duplex({
    read() {
      const next = incoming.subarray(at, at + Math.max(piece, 1))
      at += next.length
      this.push(next.length === 0 ? null : next)
    },
    write(chunk, _encoding, done) {
      written.push(chunk)
      done()
    }
  })
  return { stream, written: () => Buffer.concat(written) }
}

/** Everything until the end or the error. */
const drain = async (stream: Readable) => {
  const parts: Array<Buffer> = []
  let error: Error | undefined
  try {
    for await (const part of stream.iterator({ destroyOnReturn: false })) parts.push(part)
  } catch (failure) {
    error = failure as Error
  }
  return { plain: Buffer.concat(parts), error }
}

const NO_KEY = Buffer.alloc(32)

describe("dhxcp", () => {
  for (const { name, source, destination, key_source_to_destination, key_destination_to_source } of golden.pairs) {
    it(`both sides sign, and compute upstream's keys: ${name}`, () => {
      const [a, b] = [ownKey(source), ownKey(destination)]
      for (const [own, side] of [
        [a, source],
        [b, destination]
      ] as const) {
        assert.strictEqual(toHex(own.configuration.keyTime), side.key_time)
        assert.strictEqual(toHex(own.configuration.signature), side.signature)
      }
      for (const keys of [
        Dhxcp.streamKeys(a, hex(destination.public), "source"),
        Dhxcp.streamKeys(b, hex(source.public), "destination")
      ]) {
        const { sourceToDestination, destinationToSource } = Result.getOrThrow(keys)
        assert.strictEqual(toHex(sourceToDestination), key_source_to_destination)
        assert.strictEqual(toHex(destinationToSource), key_destination_to_source)
      }
    })
  }

  it("hashes and derives as upstream does", () => {
    for (const { input, output } of golden.keyed_hash.vectors) {
      assert.strictEqual(toHex(Dhxcp.keyedHash(hex(input))), output)
    }
    for (const { ikm, salt, info, length, output } of golden.hkdf) {
      assert.strictEqual(toHex(Dhxcp.derive(hex(ikm), hex(salt), length, Buffer.from(info))), output)
    }
  })

  it("refuses public keys that give everybody the same secret, or are none", () => {
    const own = ownKey(golden.pairs[0].source)
    for (const { public: key } of golden.low_order_public_keys) {
      assert.isTrue(Result.isFailure(Dhxcp.streamKeys(own, hex(key), "source")), key)
    }
    assert.isTrue(Result.isFailure(Dhxcp.streamKeys(own, Buffer.alloc(31, 7), "source")))
  })

  for (const { note, known_peer_server_certificates, configuration, ok, public: key } of golden.key_time_checks
    .checks) {
    it(`${ok ? "believes" : "does not believe"} the other side: ${note}`, () => {
      if (configuration === null) return
      const now = BigInt(golden.key_time_checks.now_unix_nanos)
      const theirs = {
        clientName: configuration.client_name,
        keyTime: hex(configuration.key_time),
        signature: hex(configuration.signature)
      }
      const checked = Result.flatMap(
        Dhxcp.certificateOf(theirs.clientName, known_peer_server_certificates.map(der)),
        (certificate) => Dhxcp.checkConfiguration(theirs, certificate, now)
      )
      // A certificate that upstream cannot use hides no other one here.
      const accepted = ok || note.startsWith("one listed certificate has no DNS name")
      assert.strictEqual(Result.isSuccess(checked), accepted)
      if (ok) assert.strictEqual(toHex(Result.getOrThrow(checked)), key)
    })
  }

  for (const { note, from, key, writes, plain_sha256, wire_length, wire_sha256 } of golden.streams) {
    it(`what the ${from} writes is on the wire as upstream's: ${note}`, async () => {
      const { stream, written } = wire()
      const secured = dhxcpStream(stream, { send: hex(key), receive: NO_KEY, endRecord: false })
      for (const { length, hex: text, pattern_start } of writes) {
        const chunk = text === undefined ? pattern(pattern_start, length) : hex(text)
        await new Promise<void>((resolve, reject) =>
          secured.write(chunk, (error) => (error ? reject(error) : resolve()))
        )
      }
      assert.strictEqual(written().length, wire_length)
      assert.strictEqual(sha256(written()), wire_sha256)

      for (const piece of [written().length, 1, 1000]) {
        const reader = dhxcpStream(wire(written(), piece).stream, {
          send: NO_KEY,
          receive: hex(key),
          endRecord: false
        })
        const { plain, error } = await drain(reader)
        assert.isUndefined(error)
        assert.strictEqual(sha256(plain), plain_sha256)
        if (written().length > 10_000) break
      }
    })
  }

  for (const { note, pair, wire: bytes, plain_sha256, end } of golden.read) {
    it(`what comes is read as upstream reads it: ${note}`, async () => {
      if (bytes === undefined) return
      const { key_source_to_destination: key } = golden.pairs.find(({ name }: { name: string }) => name === pair)
      const reader = dhxcpStream(wire(hex(bytes)).stream, { send: NO_KEY, receive: hex(key), endRecord: false })
      const { plain, error } = await drain(reader)
      // Upstream takes a cut between a length and its frame for the end.
      const isEnd = end === "eof" && note !== "cut after the second length"
      assert.strictEqual(error?.name, isEnd ? undefined : "StreamForged")
      // What came before the forgery may be lost with it; nothing else may come.
      if (isEnd) assert.strictEqual(sha256(plain), plain_sha256)
    })
  }
})
