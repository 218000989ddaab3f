import { Console } from "effect"
import { Argument, Command, Completions } from "effect/cli"
import type { AnyCommand } from "./manual.ts"

/** `connet completion`, for the command that `root` returns and all below it. */
export const completion = (root: () => AnyCommand) =>
  Command.make(
    "completion",
    {
      shell: Argument.Literals("shell", ["bash", "zsh", "fish", "powershell"]).pipe(
        Argument.withDescription("bash, zsh, fish or powershell")
      )
    },
    ({ shell }) => Console.log(Completions.generate("connet", shell, Completions.fromCommand(root())))
  ).pipe(
    Command.withDescription("Print what lets a shell complete commands and flags"),
    Command.withExamples([
      { command: "source <(connet completion bash)", description: "In ~/.bashrc; zsh has the same in ~/.zshrc" },
      { command: "connet completion fish > ~/.config/fish/completions/connet.fish" }
    ])
  )
