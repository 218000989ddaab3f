import { Console } from "effect"
import { Command } from "effect/cli"
import manifest from "#package.json" with { type: "json" }

/** The version of this program, also sent to servers and peers. */
export const VERSION = manifest.version

/** `connet version` */
export const version = Command.make("version", {}, () => Console.log(VERSION)).pipe(
  Command.withDescription("Print the version"),
  Command.withExamples([{ command: "connet version" }])
)
