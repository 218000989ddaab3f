import { Duplex } from "node:stream"
import { assert, describe, it } from "vitest"
import { negotiateSocks5 } from "../../../src/transport/tcp/socks5.ts"

const PROXY = { kind: "socks5", host: "proxy.example", port: 1_080, credentials: undefined } as const

/** Where everything that the proxy says comes at once, and then the end. */
const saying = (bytes: ReadonlyArray<number>) => {
  const sent: Array<number> = []
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(...chunk)
      done()
    }
  })
  setImmediate(() => {
    socket.push(Uint8Array.from(bytes))
    socket.push(null)
  })
  return { socket, sent }
}

const failure = (host: string, bytes: ReadonlyArray<number>) =>
  negotiateSocks5(saying(bytes).socket, PROXY, { host, port: 443 }).then(
    () => "connected",
    (error: Error) => error.message
  )

describe("SOCKS5", () => {
  for (const [host, address] of [
    ["192.0.2.1", [1, 192, 0, 2, 1]],
    ["2001:db8::1", [4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]],
    ["a.example", [3, 9, ...Buffer.from("a.example")]]
  ] as const) {
    it(`asks for ${host} as what it is, and leaves what follows the answer`, async () => {
      const { socket, sent } = saying([5, 0, 5, 0, 0, 4, ...Array(16).fill(0), 0, 80, 1, 2, 3])
      await negotiateSocks5(socket, PROXY, { host, port: 443 })
      assert.deepStrictEqual(sent, [5, 1, 0, 5, 1, 0, ...address, 1, 187])
      assert.deepStrictEqual([...socket.read()], [1, 2, 3])
    })
  }

  it("notices an end wherever it comes", async () => {
    const whole = [5, 0, 5, 0, 0, 3, 4, ...Buffer.from("name"), 0, 80]
    for (let length = 0; length < whole.length; length++) {
      assert.match(await failure("a.example", whole.slice(0, length)), /^it closed the connection/, `${length} bytes`)
    }
    assert.strictEqual(await failure("a.example", whole), "connected")
  })

  it("refuses a name that is too long to be sent", async () => {
    assert.match(await failure("x".repeat(256), [5, 0]), /more than 255 bytes/)
  })
})
