import { generateKeyPairSync } from "node:crypto"
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import * as base32hex from "../domain/base32hex.ts"

/** The two lines of a new Ed25519 key (RFC 8032): its seed and its public key, 32 bytes each. */
const keyLines = () => {
  const { privateKey } = generateKeyPairSync("ed25519")
  const { d = "", x = "" } = privateKey.export({ format: "jwk" })
  const text = (part: string) => base32hex.encode(Buffer.from(part, "base64url"))
  return [`PRIVATE:  ${text(d)}`, `PUBLIC:   ${text(x)}`]
}

/** `connet gen-key` */
export const genKey = Command.make("gen-key", {}, () => Effect.forEach(keyLines(), (line) => Console.log(line))).pipe(
  Command.withDescription("Make an Ed25519 key: its seed and its public key, in base32hex"),
  Command.withExamples([{ command: "connet gen-key" }])
)
