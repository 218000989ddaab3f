/** The manual: the help of every command in full, as text or as a page for `man`. */
import { NodeServices } from "@effect/platform-node"
import { Console, Effect, Option } from "effect"
import { CliConfig, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import type { HelpDoc } from "effect/cli/HelpDoc"
import { flagsOf, formatHelp, written } from "./help.ts"
import { VERSION } from "./version.ts"

/** A command of any flags, whose handler is not run. */
// biome-ignore lint/suspicious/noExplicitAny: only its shape is of interest
export type AnyCommand = Command.Command<any, any, any, any, any>

/** `connet manual`, about the command that `root` returns and all below it. */
export const manual = (root: () => AnyCommand) =>
  Command.make(
    "manual",
    {
      roff: Flag.Boolean("roff").pipe(
        Flag.withDescription("Write it as a page for man, section 1"),
        Flag.withDefault(false)
      )
    },
    ({ roff }) =>
      Effect.flatMap(documents(root()), (docs) =>
        Console.log(roff ? page(docs) : docs.map((doc) => formatHelp(doc, "full")).join("\n\n\n"))
      )
  ).pipe(
    Command.withDescription("Print the manual: every command and all of its flags"),
    Command.withExamples([
      { command: "connet manual | less" },
      { command: "connet manual --roff > connet.1", description: "For man ./connet.1, or a folder of MANPATH" }
    ])
  )

/** The help documents of a command and of all below it. */
export const documents = (root: AnyCommand) => {
  const below = (path: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<HelpDoc>> =>
    Effect.gen(function* () {
      const doc = yield* helpDoc(root, path)
      const names = (doc.subcommands ?? []).flatMap(({ commands }) => commands.map(({ name }) => name))
      const docs = yield* Effect.forEach(names, (name) => below([...path, name]))
      return [doc, ...docs.flat()]
    })
  return below([])
}

const helpDoc = Effect.fnUntraced(function* (root: AnyCommand, path: ReadonlyArray<string>) {
  const docs: Array<HelpDoc> = []
  const captured = CliOutput.layerPresenter({
    present: (event) => Effect.sync(() => event._tag === "Help" && docs.push(event.helpDoc))
  })
  yield* Command.runWith(root, { version: VERSION })([...path, "--help"]).pipe(
    Effect.provide([NodeServices.layer, CliConfig.layer({ builtIns: [GlobalFlag.Help] }), captured])
  ) as Effect.Effect<void>
  return docs[0]!
})

/** A page in the language of man (roff, its man macros). */
export const page = (docs: ReadonlyArray<HelpDoc>): string => {
  const [root] = docs
  return [
    `.TH CONNET 1 "" "connet ${VERSION}"`,
    ".SH NAME",
    `connet \\- ${escaped(root!.description)}`,
    ".SH SYNOPSIS",
    ...docs.flatMap(({ usage }) => [`.B ${escaped(usage)}`, ".br"]),
    ...docs.flatMap((doc, at) => [
      at === 0 ? ".SH OPTIONS" : `.SH ${escaped(doc.commandPath!.join(" ").toUpperCase())}`,
      ...(at === 0 ? [] : [escaped(doc.description)]),
      ...(doc.args ?? []).flatMap(({ name, description }) =>
        item(
          name,
          Option.getOrElse(description, () => "")
        )
      ),
      ...flagsOf(doc, at === 0).flatMap((flag) =>
        item(
          written(flag),
          Option.getOrElse(flag.description, () => "")
        )
      ),
      ...(doc.examples ?? []).flatMap(({ command, description }) => [
        ".PP",
        ".nf",
        `.RS`,
        escaped(command),
        ".RE",
        ".fi",
        ...(description === undefined ? [] : [escaped(description)])
      ])
    ]),
    ""
  ].join("\n")
}

const item = (term: string, text: string): ReadonlyArray<string> => [".TP", `.B ${escaped(term)}`, escaped(text)]

/** Text that roff leaves as it is. */
const escaped = (text: string): string =>
  text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/, "\\&$1")
