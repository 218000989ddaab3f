/**
 * Who a control server is to those who come back: its id, by which relays know it, and the keys of its reconnect tokens.
 * Kept in a folder, it survives a restart; without one it is made anew each time.
 */
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import { Schema } from "effect"
import * as base32hex from "../../domain/base32hex.ts"
import { kept } from "./kept.ts"

const Key = Schema.Uint8ArrayFromHex.check(
  Schema.makeFilter((key) => (key.length === 32 ? undefined : "a key has 32 bytes"))
)

export const ControlIdentity = Schema.Struct({
  id: Schema.NonEmptyString,
  /** Seal the ids of clients and relays. */
  clientKey: Key,
  relayKey: Key
})
export type ControlIdentity = typeof ControlIdentity.Type

export const makeControlIdentity = (): ControlIdentity => ({
  id: `${base32hex.encode(randomBytes(32))}.relay.control.invalid`,
  clientKey: randomBytes(32),
  relayKey: randomBytes(32)
})

/** The identity in this folder, made there when it is not there yet. */
export const loadControlIdentity = (folder: string) =>
  kept(join(folder, "control.json"), ControlIdentity, makeControlIdentity)
