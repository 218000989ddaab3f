/**
 * The command line: the tree of commands, how bad usage is told, and how the process ends.
 *
 * - Exit code 0: the command did its work, or was told to stop by SIGINT or SIGTERM.
 * - Exit code 1: it failed; one short paragraph on stderr says why.
 * - Exit code 2: it was used wrongly.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Console, Effect, Exit } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import * as Runtime from "effect/Runtime"
import { check } from "./check.ts"
import { client } from "./client.ts"
import { completion } from "./completion.ts"
import { control } from "./control.ts"
import { demo } from "./demo.ts"
import { ConfigFlag, clientFlags, LogFormatFlag, LogLevelFlag } from "./flags.ts"
import { genKey } from "./genKey.ts"
import { formatHelp } from "./help.ts"
import { Ended, fail } from "./launch.ts"
import { type AnyCommand, manual } from "./manual.ts"
import { relay } from "./relay.ts"
import { server } from "./server.ts"
import { token } from "./token.ts"
import { VERSION, version } from "./version.ts"

/** The commands that tell of all the others are among them. */
const root = (): AnyCommand => connet

/** `connet` with everything below it. */
export const connet = Command.make("connet", clientFlags, client).pipe(
  Command.withDescription("Reach services across NATs: offer them as destinations, use them as sources"),
  Command.withExamples([
    { command: 'connet --server "connet://…" --expose web=8080', description: "Offer what port 8080 serves here" },
    { command: 'connet --server "connet://…" --use web=9000', description: "Use it at port 9000 elsewhere" },
    { command: "connet --config client.toml", description: "With settings from a file" }
  ]),
  Command.withSubcommands([
    server,
    control,
    relay,
    check,
    token,
    genKey,
    completion(root),
    manual(root),
    demo,
    version
  ]),
  Command.withGlobalFlags([ConfigFlag, LogLevelFlag, LogFormatFlag])
)

/** Runs the command with these arguments; ends with `Ended` when there is an exit code other than 0. */
export const run = (args: ReadonlyArray<string>) =>
  Command.runWith(connet, { version: VERSION })(args).pipe(
    Effect.catchTag("ShowHelp", (help) => (help.errors.length > 0 ? new Ended({ code: 2 }) : Effect.void)),
    Effect.catchCause((cause) => fail(cause, false)),
    Effect.provide([
      NodeServices.layer,
      CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
      layerBadUsage
    ])
  )

/** Bad usage is told in a line or two on stderr; the help stays on stdout for those who ask for it. */
const layerBadUsage = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.sync(() => {
          // What follows the first error is mostly its consequence.
          const problem = (event.errors[0]?.message ?? "").replaceAll(/\s+/g, " ").trim()
          process.stderr.write(`connet: ${problem}\nRun "${event.commandPath.join(" ")} --help" for help.\n`)
        })
      : event._tag === "Help"
        ? Console.log(formatHelp(event.helpDoc, "brief"))
        : CliOutput.defaultPresenter.present(event)
})

/** Runs the command as the process. */
export const main = (args: ReadonlyArray<string>): void => {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, endInTime)
  NodeRuntime.runMain(run(args), {
    disableErrorReporting: true,
    teardown: (exit, onExit) => (Exit.hasInterrupts(exit) ? onExit(0) : Runtime.defaultTeardown(exit, onExit))
  })
}

/** Whatever a role still has to finish, the process ends two seconds after it was told to; at once when told again. */
let signals = 0
const endInTime = () => {
  signals += 1
  if (signals > 1) process.exit(0)
  setTimeout(() => process.exit(0), GRACE_MILLIS).unref()
}

/** Less than the two seconds that are promised: the end itself takes time, on a busy machine. */
const GRACE_MILLIS = 1_500
