import { randomBytes } from "node:crypto"
import { Console, Effect, Option } from "effect"
import { Command } from "effect/cli"
import { ConfigError, ValueInvalid } from "../config/ConfigError.ts"
import { CLIENT_ATTRIBUTES, parseLine } from "../config/TokenEntry.ts"
import * as base32hex from "../domain/base32hex.ts"
import { HASH_PREFIX, hashShown } from "../domain/TokenRule.ts"
import { text } from "./flags.ts"
import { fail } from "./launch.ts"

/** 256 bits, in letters that need no quotes anywhere. */
export const makeToken = (): string => base32hex.encode(randomBytes(32))

/** `connet token new` */
const newToken = Command.make(
  "new",
  {
    name: text("name", "name", "What logs call whoever has the token, like laptop"),
    expires: text("expires", "date", "The last day on which it is accepted, like 2027-01-31"),
    allow: text("allow", "cidr,…", "From where it may be used; left out: from anywhere"),
    deny: text("deny", "cidr,…", "From where it may not be used"),
    names: text("names", "regexp", "The endpoints that it may be used for, like ^web-"),
    role: text("role", "role", "destination or source, if it is for one of them only")
  } satisfies Record<(typeof CLIENT_ATTRIBUTES)[number], unknown>,
  Effect.fnUntraced(
    function* (flags) {
      const token = makeToken()
      const attributes = CLIENT_ATTRIBUTES.flatMap((name) =>
        Option.match(flags[name], { onNone: () => [], onSome: (value) => [` ${name}=${value}`] })
      )
      const entry = `${HASH_PREFIX}${hashShown(token).toString("hex")}${attributes.join("")}`
      const problems = parseLine(entry, "", CLIENT_ATTRIBUTES).problems.map(
        (detail) => new ValueInvalid({ origin: "command line", key: "the entry", detail })
      )
      const [first, ...rest] = problems
      if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
      yield* Console.log(`TOKEN:  ${token}`)
      yield* Console.log(`ENTRY:  ${entry}`)
    },
    Effect.catchCause((cause) => fail(cause, false))
  )
).pipe(
  Command.withDescription("Make a token for a client, and its line for the tokens-file of the server"),
  Command.withExamples([{ command: "connet token new --name laptop --expires 2027-01-31" }])
)

/** `connet token` */
export const token = Command.make("token").pipe(
  Command.withDescription("Make tokens"),
  Command.withExamples([{ command: "connet token new", description: "A token, and the line for the server's file" }]),
  Command.withSubcommands([newToken])
)
