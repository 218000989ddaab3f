/**
 * What two ends have in common after a TLS handshake in a relayed stream: a secret that nobody else can know (RFC 8446 §7.5),
 * and its name. Further streams between the two take their keys from it and from a nonce of each side, and need no handshake.
 *
 * A session is good for an hour, in the memory of the two processes only. Of each kind the latest thousand are kept.
 */
import { hkdfSync } from "node:crypto"
import type { TLSSocket } from "node:tls"
import type { StreamKeys } from "./Dhxcp.ts"

export interface Session {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** 32 bytes. */
  readonly secret: Uint8Array
  /** Key of the certificate that the other end showed in the handshake. */
  readonly peer: string
}

const LABEL = "EXPORTER-connet-relayed-streams"
const ID_BYTES = 16
const SECRET_BYTES = 32

/** The session of a handshake that is over, in which both certificates were compared. */
export const sessionOf = (socket: TLSSocket, peer: string): Session => {
  const exported = socket.exportKeyingMaterial(ID_BYTES + SECRET_BYTES, LABEL, Buffer.alloc(0))
  return { id: exported.subarray(0, ID_BYTES), secret: exported.subarray(ID_BYTES), peer }
}

/** The keys of one stream. Each side's nonce is fresh, so that nothing of another stream can be shown again. */
export const sessionKeys = ({ secret }: Session, source: Uint8Array, destination: Uint8Array): StreamKeys => {
  const keys = Buffer.from(hkdfSync("sha256", secret, Buffer.concat([source, destination]), "connet stream", 64))
  return { sourceToDestination: keys.subarray(0, 32), destinationToSource: keys.subarray(32) }
}

const LIFETIME_MILLIS = 3_600_000
const MAX_KEPT = 1_000

/** Sessions by a name of the keeper's own. */
export class Sessions {
  readonly #kept = new Map<string, { readonly session: Session; readonly until: number }>()

  keep(name: string, session: Session, nowMillis: number): void {
    this.#kept.delete(name)
    this.#kept.set(name, { session, until: nowMillis + LIFETIME_MILLIS })
    if (this.#kept.size <= MAX_KEPT) return
    const [oldest] = this.#kept.keys()
    if (oldest !== undefined) this.#kept.delete(oldest)
  }

  find(name: string, nowMillis: number): Session | undefined {
    const kept = this.#kept.get(name)
    if (kept === undefined || nowMillis < kept.until) return kept?.session
    this.#kept.delete(name)
    return undefined
  }

  /** Whatever has been kept under the name since stays. */
  forget(name: string, session: Session): void {
    if (this.#kept.get(name)?.session === session) this.#kept.delete(name)
  }
}
