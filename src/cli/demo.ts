import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { playDemo } from "./demo/playDemo.ts"
import { fail } from "./launch.ts"

/** `connet demo` */
export const demo = Command.make(
  "demo",
  {
    once: Flag.Boolean("once").pipe(
      Flag.withDescription("End after the download, with code 1 if anything failed"),
      Flag.withDefault(false)
    ),
    relay: Flag.Boolean("relay").pipe(
      Flag.withDescription("Let no direct path open, so that the relay carries everything"),
      Flag.withDefault(false)
    )
  },
  ({ once, relay }) =>
    playDemo({ once, relay, mebibytes: 64, command: [process.execPath, ...process.execArgv, process.argv[1]!] }).pipe(
      Effect.catchCause((cause) => fail(cause, false))
    )
).pipe(
  Command.withDescription("See a tunnel work: server, destination and source on this machine"),
  Command.withExamples([{ command: "connet demo --relay", description: "The same with the relay in between" }])
)
