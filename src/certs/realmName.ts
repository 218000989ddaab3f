import { randomBytes } from "node:crypto"
import * as base32hex from "../domain/base32hex.ts"

/** What a made-up server name stands for: a client's direct listener, or a relay. */
export type Realm = "connet.peer" | "reserve.relay"

/** A DNS name that nobody can own or guess: 32 random bytes as a label of 52 letters, below the realm and `.invalid`. */
export const realmName = (realm: Realm, random: Uint8Array = randomBytes(32)): string =>
  `${base32hex.encode(random)}.${realm}.invalid`
