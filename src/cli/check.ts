import { Console, Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { ConfigError, type ConfigReason } from "../config/ConfigError.ts"
import { printed } from "../config/effective.ts"
import { logConfig } from "../config/LogConfig.ts"
import { readFiles } from "../config/loadFiles.ts"
import { clientRole } from "./client.ts"
import { controlRole } from "./control.ts"
import { ConfigFlag } from "./flags.ts"
import { fail, logSource } from "./launch.ts"
import { prepare, type Role, reasonsOf } from "./Role.ts"
import { relayRole } from "./relay.ts"
import { serverRole } from "./server.ts"

const ROLES: ReadonlyArray<Role<unknown>> = [serverRole, controlRole, relayRole, clientRole]

/** Prepares every role that the files have a table for, and starts none. */
const checkFiles = Effect.fnUntraced(function* (names: ReadonlyArray<string>, print: boolean) {
  const files = yield* readFiles([...(yield* ConfigFlag), ...names])
  const sources = [...files.sources, yield* logSource]
  const roles = ROLES.filter(({ name }) => sources.some(({ tables }) => tables[name] !== undefined))
  const prepared = yield* Effect.forEach(roles, (role) => Effect.result(prepare(role, { ...files, sources })))
  const reasons = [yield* Effect.result(logConfig(sources)), ...prepared].flatMap(reasonsOf)
  const [first, ...rest] = distinct([...files.problems, ...reasons])
  if (first !== undefined) return yield* new ConfigError({ reasons: [first, ...rest] })
  for (const result of prepared) yield* Effect.fromResult(result)
  if (print) {
    yield* Console.log(
      printed(
        sources,
        roles.map(({ name }) => name)
      ).trimEnd()
    )
  }
})

/** Each problem once: those of whole files are found with every role. */
const distinct = (reasons: ReadonlyArray<ConfigReason>): ReadonlyArray<ConfigReason> => [
  ...new Map(reasons.map((reason) => [reason.message, reason])).values()
]

/** `connet check` */
export const check = Command.make(
  "check",
  {
    files: Argument.File("file").pipe(
      Argument.withDescription("The files, folded as --config does it"),
      Argument.atLeast(1)
    ),
    print: Flag.Boolean("print").pipe(
      Flag.withDescription("Print the settings that hold, defaults included, without tokens"),
      Flag.withDefault(false)
    )
  },
  ({ files, print }) => checkFiles(files, print).pipe(Effect.catchCause((cause) => fail(cause, false)))
).pipe(
  Command.withDescription("Check configuration files, without starting anything"),
  Command.withExamples([
    { command: "connet check server.toml", description: "Says nothing and ends with code 0 when all is well" },
    { command: "connet check --print base.toml laptop.toml", description: "Several files, and what they amount to" }
  ])
)
