import { NodeServices } from "@effect/platform-node"
import { Cause, Effect, Exit } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { connet } from "../../src/cli/main.ts"

/** Reads a command line and runs nothing of it: what is wrong with it, if anything is. */
export const misread = (args: ReadonlyArray<string>) =>
  Command.runWith(
    Command.validate(connet, () => Effect.interrupt),
    { version: "0" }
  )(args).pipe(
    Effect.provide([
      NodeServices.layer,
      CliConfig.layer({ builtIns: [GlobalFlag.Help] }),
      CliOutput.layerPresenter({ present: () => Effect.void })
    ]),
    Effect.exit,
    Effect.map((exit) => {
      if (Exit.isSuccess(exit)) return "it was run"
      if (Cause.hasInterruptsOnly(exit.cause)) return undefined
      const error = Cause.squash(exit.cause) as { readonly errors?: ReadonlyArray<Error> }
      return (error.errors ?? [error]).map(String).join("; ")
    })
  )
