/** The native QUIC implementation (quiche 0.18 with BoringSSL): the only place that imports the binding. */
import type { Config, Connection, Header } from "@matrixai/quic/native/types.js"
import { TransportError, Unsupported } from "../../TransportError.ts"

export type { Config as NativeConfig, Connection as NativeConnection } from "@matrixai/quic/native/types.js"

/** The longest connection id of QUIC version 1, in bytes (RFC 9000 §17.2). */
export const MAX_CONNECTION_ID_BYTES = 20

/** Which half of a stream to shut down. */
export const SHUTDOWN_READ = 0
export const SHUTDOWN_WRITE = 1

export interface Native {
  readonly Config: {
    withBoringSslCtx(
      verifyPeer: boolean,
      verifyAllowFail: boolean,
      ca: Uint8Array | null,
      key: Array<Uint8Array> | null,
      certificate: Array<Uint8Array> | null,
      signatureAlgorithms: string
    ): Config
  }
  readonly Connection: {
    connect(serverName: string | null, scid: Uint8Array, local: Address, remote: Address, config: Config): Connection
    accept(scid: Uint8Array, odcid: Uint8Array | null, local: Address, remote: Address, config: Config): Connection
  }
  readonly Header: { fromSlice(packet: Uint8Array, dcidBytes: number): Header }
  /** Writes a Retry packet (RFC 9000 §17.2.5) into `out`, and returns its length. */
  retry(
    scid: Uint8Array,
    dcid: Uint8Array,
    newScid: Uint8Array,
    token: Uint8Array,
    version: number,
    out: Uint8Array
  ): number
  readonly PROTOCOL_VERSION: number
}

interface Address {
  host: string
  port: number
}

let loading: Promise<Native> | undefined

/** The binding, loaded once. Rejects with the `Unsupported` reason where no build exists for the platform. */
export const loadNative = (): Promise<Native> => {
  loading ??= import("@matrixai/quic/native/quiche.js").then(
    (module) => module.default as unknown as Native,
    () => {
      throw new TransportError({
        reason: new Unsupported({
          detail: `QUIC has no native build for ${process.platform}-${process.arch}; it runs on linux-x64 (glibc), macOS and Windows x64`
        })
      })
    }
  )
  return loading
}

/** What a stream was given up with, from quiche's errors `StreamReset(7)`, `StreamStopped(7)`, `InvalidStreamState(7)`. */
export const errorCode = (error: unknown, name: string): number | undefined => {
  const message = (error as Error).message
  return message.startsWith(name) ? Number(message.slice(name.length + 1, -1)) : undefined
}
