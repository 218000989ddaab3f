import { createHash, randomBytes } from "node:crypto"
import { Console, Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import * as base32hex from "../domain/base32hex.ts"

/** `connet token new` */
const newToken = Command.make(
  "new",
  {
    name: Flag.String("name").pipe(
      Flag.withMetavar("name"),
      Flag.withDescription("What logs call whoever has the token, like laptop"),
      Flag.optional
    ),
    expires: Flag.String("expires").pipe(
      Flag.withMetavar("date"),
      Flag.withDescription("The last day on which it is accepted, like 2027-01-31"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function* ({ name, expires }) {
    const token = base32hex.encode(randomBytes(32))
    const hash = createHash("sha256").update(token).digest("hex")
    const attributes = Object.entries({ name, expires }).flatMap(([key, value]) =>
      Option.isSome(value) ? [` ${key}=${value.value}`] : []
    )
    yield* Console.log(`TOKEN:  ${token}`)
    yield* Console.log(`ENTRY:  sha256:${hash}${attributes.join("")}`)
  })
).pipe(
  Command.withDescription("Make a token for a client, and the line for the tokens-file of its server"),
  Command.withExamples([{ command: "connet token new --name laptop --expires 2027-01-31" }])
)

/** `connet token` */
export const token = Command.make("token").pipe(
  Command.withDescription("Make tokens"),
  Command.withExamples([{ command: "connet token new", description: "A token, and the line for the server's file" }]),
  Command.withSubcommands([newToken])
)
