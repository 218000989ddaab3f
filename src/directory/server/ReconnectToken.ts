/** What a client or relay gets to come back as the same one: its id, which only the server that sealed it can read. */
import { seal, unseal } from "../../protocol/seal.ts"

/** @param key 32 bytes */
export const sealReconnectToken = (key: Uint8Array, id: string, nonce?: Uint8Array) => seal(key, Buffer.from(id), nonce)

/** The id inside, or undefined when the token was not made with this key. */
export const openReconnectToken = (key: Uint8Array, token: Uint8Array): string | undefined => {
  const id = unseal(key, token)
  return id && Buffer.from(id).toString()
}
