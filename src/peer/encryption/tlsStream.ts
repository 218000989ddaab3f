/**
 * TLS 1.3 inside a relayed stream: the source is the client, the destination the server, and each shows the certificate
 * that the other one knows from control. Plain Node.
 */
import type { Duplex } from "node:stream"
import { connect, createSecureContext, TLSSocket } from "node:tls"
import { Redacted } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import { onceFor } from "../../internal/onceFor.ts"
import { WrappedStream } from "../../internal/WrappedStream.ts"
import { refusal, serverName, Trust } from "../../transport/Trust.ts"
import { StreamForged } from "./EncryptionError.ts"

export interface TlsOptions {
  /** What is shown. */
  readonly identity: Identity
  /** What the other end must show (DER). */
  readonly expected: Uint8Array
}

/** Calls back once: with the secured stream, or with why there is none. The result gives up. */
type Secured = (result: TLSSocket | Error) => void

/** Begins the handshake as the source. */
export const tlsClient = (inner: Duplex, options: TlsOptions, secured: Secured): (() => void) => {
  const trust = Trust.pinned(options.expected)
  const name = serverName(trust)
  const socket = connect({
    socket: new Guard(inner),
    ...settings(options.identity),
    ...(name !== undefined && { servername: name })
  })
  return settle(socket, "secureConnect", trust, secured)
}

/** Answers the handshake as the destination. */
export const tlsServer = (inner: Duplex, options: TlsOptions, secured: Secured): (() => void) => {
  const socket = new TLSSocket(new Guard(inner), {
    ...settings(options.identity),
    isServer: true,
    requestCert: true
  })
  return settle(socket, "secure", Trust.pinned(options.expected), secured)
}

/** Certificates are compared, not verified by a chain: the roots that issued them are thrown away. */
const settings = (identity: Identity) => ({ secureContext: contextOf(identity), rejectUnauthorized: false })

/** A context takes longer to make than a handshake. */
const contextOf = onceFor(({ certificatePem: cert, privateKeyPem }: Identity) =>
  createSecureContext({ cert, key: Redacted.value(privateKeyPem), minVersion: "TLSv1.3" })
)

const settle = (socket: TLSSocket, event: "secure" | "secureConnect", trust: Trust, secured: Secured): (() => void) => {
  let settled = false
  const finish = (result: TLSSocket | Error) => {
    if (settled) return
    settled = true
    if (result instanceof Error) socket.destroy()
    secured(result)
  }
  // A socket that no server of Node's own has made tells of what is wrong after the handshake in this way only.
  socket.on("_tlsError", (error: Error) => socket.destroy(new StreamForged(error.message)))
  // Somebody has to hear it also later, when the stream is not used any more.
  socket.on("error", (error) => finish(error))
  socket.on("close", () => finish(new Error("the stream was closed during the handshake")))
  socket.once(event, () => {
    const refused = refusal(trust, socket.getPeerX509Certificate()?.raw, new Date())
    finish(refused === undefined ? socket : new Error(refused.message))
  })
  return () => finish(new Error("given up"))
}

/**
 * Between the stream and TLS. Node does not tell the end of a stream from the farewell (close_notify) of the other side,
 * so the end is shown to TLS as a record that is none: after the farewell it is not looked at, without it TLS fails.
 */
class Guard extends WrappedStream {
  protected override receive(piece: Buffer, done: () => void): void {
    this.deliver(piece)
    done()
  }

  protected override endsHere(): undefined {
    this.push(NO_RECORD)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, written: () => void): void {
    this.forward(chunk, written)
  }
}

/**
 * A record of TLS begins with its type, of which 255 is none. Longer than any record (RFC 8446 §5.2), so that one which was
 * cut off is complete with it, and wrong.
 */
const NO_RECORD = Buffer.alloc(5 + 16_384 + 256, 0xff)
