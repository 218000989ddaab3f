import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import type { Encryption } from "../../../src/domain/Encryption.ts"
import { strongest } from "../../../src/peer/encryption/negotiate.ts"

const { encryption_choice } = JSON.parse(
  readFileSync(join(import.meta.dirname, "..", "..", "fixtures", "restrictions.json"), "utf8")
) as {
  readonly encryption_choice: ReadonlyArray<{
    readonly destination: ReadonlyArray<Encryption>
    readonly source_on_the_wire: ReadonlyArray<Encryption>
    /** As the wire has it. */
    readonly chosen?: number
  }>
}

const ON_THE_WIRE: ReadonlyArray<Encryption> = ["none", "tls", "dhxcp"]

describe("the encryption of a relayed stream", () => {
  it.each(encryption_choice)("of $source_on_the_wire and $destination is $chosen, as upstream", (recorded) => {
    const { destination, source_on_the_wire: source, chosen } = recorded
    assert.strictEqual(strongest(source, destination), chosen === undefined ? undefined : ON_THE_WIRE[chosen])
  })
})
