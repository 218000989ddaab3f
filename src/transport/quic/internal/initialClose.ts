/**
 * The farewell to a newcomer of whom nothing is read: one Initial packet that closes the connection before it is one.
 *
 * Its keys follow from the connection id that the newcomer chose (RFC 9001 §5.2), so that no state is kept, no TLS is
 * begun, and quiche is not asked: that would begin TLS first. Some 40 bytes answer at least 1,200, so nobody can use it to
 * flood somebody else.
 */
import { createCipheriv, createHmac } from "node:crypto"

/** The other end is not wanted (RFC 9000 §20.1). */
export const CONNECTION_REFUSED = 0x02

const SALT = Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex")
const VERSION_1 = 1
const TAG_BYTES = 16
/** CONNECTION_CLOSE of the transport with no particular frame and no reason, and padding up to what protection needs. */
const PAYLOAD = Buffer.of(0x1c, CONNECTION_REFUSED, 0, 0)

/** What `server` protects its Initial packets with. */
export const serverInitialKeys = (dialedId: Uint8Array) => {
  const secret = expand(hmac(SALT, dialedId), "server in", 32)
  return { key: expand(secret, "quic key", 16), iv: expand(secret, "quic iv", 12), hp: expand(secret, "quic hp", 16) }
}

/**
 * @param dialedId the connection id that the newcomer's first packet is addressed to
 * @param itsId the one it wants to be answered at
 */
export const initialClose = (dialedId: Uint8Array, itsId: Uint8Array): Buffer => {
  const { key, iv, hp } = serverInitialKeys(dialedId)
  const version = Buffer.alloc(4)
  version.writeUInt32BE(VERSION_1)
  const length = 1 + PAYLOAD.length + TAG_BYTES
  // Packet number 0 in one byte, no id of ours, no token.
  const header = Buffer.concat([Buffer.of(0xc0), version, Buffer.of(itsId.length), itsId, Buffer.of(0, 0, length, 0)])
  const cipher = createCipheriv("aes-128-gcm", key, iv).setAAD(header)
  const sealed = Buffer.concat([cipher.update(PAYLOAD), cipher.final(), cipher.getAuthTag()])
  // Header protection (RFC 9001 §5.4): the sample lies where a packet number of four bytes would end.
  const mask = createCipheriv("aes-128-ecb", hp, null).update(sealed.subarray(3, 3 + 16))
  header[0]! ^= mask[0]! & 0x0f
  header[header.length - 1]! ^= mask[1]!
  return Buffer.concat([header, sealed])
}

const hmac = (key: Uint8Array, data: Uint8Array): Buffer => createHmac("sha256", key).update(data).digest()

/** HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1), for results of one block. */
const expand = (secret: Uint8Array, label: string, bytes: number): Buffer => {
  const text = Buffer.from(`tls13 ${label}`)
  return hmac(secret, Buffer.concat([Buffer.of(0, bytes, text.length), text, Buffer.of(0, 1)])).subarray(0, bytes)
}
