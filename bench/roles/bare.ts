/**
 * The native QUIC implementation in the smallest loop that works, without streams, buffers or fairness of ours: what a
 * tunnel over it could reach at best. `bare.ts receive` prints its port; `bare.ts send <port> <bytes>` sends, and the
 * receiver prints one JSON line with the time it took.
 */
import { randomBytes } from "node:crypto"
import { createSocket } from "node:dgram"
import { Effect } from "effect"
import { issueServer } from "../../src/certs/issue.ts"
import { PACKET_BYTES, PEER_CREDIT } from "../../src/transport/quic/internal/limits.ts"
import { loadNative, type NativeConnection } from "../../src/transport/quic/internal/native.ts"
import { nativeConfig } from "../../src/transport/quic/internal/nativeConfig.ts"
import { Trust } from "../../src/transport/Trust.ts"

const [role, port, size] = process.argv.slice(2)
const total = Number(size)
const native = await loadNative()
const config = nativeConfig(native, {
  protocols: ["bare"],
  identity: role === "receive" ? await Effect.runPromise(issueServer(["bare.invalid"])) : undefined,
  trust: Trust.anyone,
  credit: PEER_CREDIT,
  congestionControl: "bbr",
  idleTimeoutMillis: 20_000
})
const udp = createSocket({
  type: "udp4",
  recvBufferSize: 7 << 20,
  sendBufferSize: 7 << 20,
  lookup: (host, _options, found) => found(null, host, 4)
})
await new Promise<void>((resolve) => udp.bind(0, "127.0.0.1", resolve))
const local = { host: "127.0.0.1", port: udp.address().port }
const buffer = Buffer.allocUnsafeSlow(256 * 1024)
const chunk = Buffer.alloc(64 * 1024, 7)

let connection: NativeConnection | undefined
let scheduled = false
let timer: NodeJS.Timeout | undefined
let moved = 0
let began = 0
let ended = false

const receiveAll = (connection: NativeConnection) => {
  for (const stream of connection.readable()) {
    for (;;) {
      const received = connection.streamRecv(stream, buffer)
      if (received === null) break
      if (moved === 0) began = performance.now()
      moved += received[0]
      if (!received[1]) continue
      const millis = performance.now() - began
      process.stdout.write(`${JSON.stringify({ bytes: moved, millis })}\n`)
      connection.close(true, 0, Buffer.alloc(0))
      break
    }
  }
}

const sendMore = (connection: NativeConnection) => {
  while (moved < total) {
    const sent = connection.streamSend(0, chunk, false)
    if (sent === null) return
    moved += sent
    if (sent < chunk.length) return
  }
  if (!ended) connection.streamSend(0, Buffer.alloc(0), true)
  ended = true
}

const turn = () => {
  scheduled = false
  if (connection === undefined) return
  if (connection.isEstablished()) (role === "receive" ? receiveAll : sendMore)(connection)
  for (;;) {
    const packet = Buffer.allocUnsafe(PACKET_BYTES)
    const sent = connection.send(packet)
    if (sent === null) break
    udp.send(packet, 0, sent[0], sent[1].to.port, sent[1].to.host)
  }
  if (connection.isClosed() || connection.isDraining()) {
    clearTimeout(timer)
    connection = undefined
    if (role === "send") udp.close()
    moved = 0
    return
  }
  clearTimeout(timer)
  const wait = connection.timeout()
  if (wait !== null) timer = setTimeout(onTimeout, wait + 1)
}

const onTimeout = () => {
  connection?.onTimeout()
  turn()
}

udp.on("message", (packet, from) => {
  const peer = { host: from.address, port: from.port }
  connection ??= native.Connection.accept(randomBytes(8), null, local, peer, config)
  try {
    connection.recv(packet, { from: peer, to: local })
  } catch {
    // A packet of a connection before.
  }
  if (scheduled) return
  scheduled = true
  setImmediate(turn)
})

if (role === "receive") {
  process.stdout.write(`${local.port}\n`)
} else {
  const peer = { host: "127.0.0.1", port: Number(port) }
  connection = native.Connection.connect("bare.invalid", randomBytes(8), local, peer, config)
  turn()
}
