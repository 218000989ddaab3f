/** The other end of a QUIC socket by hand: raw datagrams, and quiche without a driver. */
import { randomBytes } from "node:crypto"
import { createSocket, type Socket } from "node:dgram"
import { Effect } from "effect"
import type { Identity } from "../../../src/certs/Identity.ts"
import { PEER_CREDIT } from "../../../src/transport/quic/internal/limits.ts"
import { loadNative, type NativeConnection } from "../../../src/transport/quic/internal/native.ts"
import { nativeConfig } from "../../../src/transport/quic/internal/nativeConfig.ts"
import { Trust } from "../../../src/transport/Trust.ts"

/** A UDP socket of nobody, on loopback. */
export const rawSocket = Effect.acquireRelease(
  Effect.callback<Socket>((resume) => {
    const socket = createSocket("udp4")
    socket.bind(0, "127.0.0.1", () => resume(Effect.succeed(socket)))
  }),
  (socket) => Effect.callback<void>((resume) => void socket.close(() => resume(Effect.void)))
)

export const sendRaw = (socket: Socket, packet: Uint8Array, port: number) =>
  Effect.callback<void>((resume) => socket.send(packet, port, "127.0.0.1", () => resume(Effect.void)))

/** Begins connections by hand; what they send goes through the test. */
export const beginner = Effect.fnUntraced(function* (
  port: number,
  identity: Identity,
  protocols: ReadonlyArray<string>
) {
  const native = yield* Effect.promise(loadNative)
  const config = nativeConfig(native, {
    protocols,
    identity,
    trust: Trust.expected(() => true),
    credit: PEER_CREDIT,
    congestionControl: "bbr",
    idleTimeoutMillis: 20_000
  })
  return () =>
    native.Connection.connect(
      "beginner.example",
      randomBytes(8),
      { host: "127.0.0.1", port: 1 },
      { host: "127.0.0.1", port },
      config
    )
})

/** What it has to send now. */
export const packetsOf = function* (connection: NativeConnection) {
  for (;;) {
    const packet = Buffer.alloc(1_350)
    const sent = connection.send(packet)
    if (sent === null) return
    yield packet.subarray(0, sent[0])
  }
}
