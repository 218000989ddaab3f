/** Help texts: what a command does, how it is used, and its flags, so short that they fit on a screen of 80 columns. */
import { Option } from "effect"
import type { FlagDoc, HelpDoc } from "effect/cli/HelpDoc"

/** The flags that are explained; the others of these commands are only named, and explained in the manual. */
const EXPLAINED: Readonly<Record<string, ReadonlySet<string>>> = {
  connet: new Set(["server", "expose", "use", "token-file", "config", "log-level"]),
  server: new Set([
    "addr",
    "relay-addr",
    "relay-hostport",
    "tokens-file",
    "cert-file",
    "key-file",
    "store-dir",
    "config"
  ]),
  control: new Set([
    "clients-addr",
    "clients-tokens-file",
    "relays-addr",
    "relays-tokens-file",
    "cert-file",
    "key-file",
    "store-dir",
    "config"
  ]),
  relay: new Set(["control-addr", "control-cas-file", "token-file", "addr", "hostport", "store-dir", "config"])
}

/** Flags that say nothing of their own about a command. */
const BUILT_IN = new Set(["help", "version", "completions"])

/** The help of a command; in full, no flag is only named. */
export const formatHelp = (doc: HelpDoc, extent: "brief" | "full"): string => {
  const path = doc.commandPath ?? []
  const explained = extent === "full" ? undefined : EXPLAINED[path.at(-1)!]
  const flags = flagsOf(doc, path.length === 1 || (extent === "brief" && explained !== undefined))
  const isShown = ({ name }: FlagDoc) => explained === undefined || explained.has(name)
  const others = flags.filter((flag) => !isShown(flag)).map(({ name }) => `--${name}`)
  return [
    wrapped(doc.description, 0),
    `Usage: ${doc.usage}`,
    section(
      "Examples",
      (doc.examples ?? []).map(({ command, description }) => [command, description ?? ""])
    ),
    section(
      "Arguments",
      (doc.args ?? []).map((argument) => [argument.name, Option.getOrElse(argument.description, () => "")])
    ),
    section(
      "Flags",
      flags.filter(isShown).map((flag) => [written(flag), Option.getOrElse(flag.description, () => "")])
    ),
    others.length === 0 ? "" : wrapped(`More flags (connet manual explains them): ${others.join(", ")}`, 0),
    section(
      "Commands",
      (doc.subcommands ?? []).flatMap(({ commands }) =>
        commands.map(({ name, shortDescription, description }) => [name, shortDescription ?? description] as const)
      )
    )
  ]
    .filter((part) => part !== "")
    .join("\n\n")
}

/** The flags of a command that are worth a word; with those that all commands have, they come last. */
export const flagsOf = (doc: HelpDoc, withGlobal: boolean): ReadonlyArray<FlagDoc> =>
  [...doc.flags, ...(doc.inheritedFlags ?? []), ...(withGlobal ? (doc.globalFlags ?? []) : [])].filter(
    ({ name }) => !BUILT_IN.has(name)
  )

/** A flag with the name of its value, if it has one. */
export const written = ({ name, type }: FlagDoc): string => (type === "boolean" ? `--${name}` : `--${name} ${type}`)

const WIDTH = 80

/** Rows of two columns below a title; nothing without rows. */
const section = (title: string, rows: ReadonlyArray<readonly [string, string]>): string => {
  if (rows.length === 0) return ""
  const longest = Math.max(...rows.map(([left]) => left.length))
  const column = Math.min(longest, 26) + 4
  const lines = rows.map(([left, right]) => {
    const start = `  ${left}`
    if (right === "") return start
    const text = wrapped(right, column)
    return start.length + 2 > column ? `${start}\n${" ".repeat(column)}${text}` : start.padEnd(column) + text
  })
  return `${title}:\n${lines.join("\n")}`
}

/** Text in lines that end before the edge; all but the first are indented. */
const wrapped = (text: string, indent: number): string => {
  const lines: Array<string> = [""]
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!
    if (last !== "" && indent + last.length + 1 + word.length > WIDTH) lines.push(word)
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`
  }
  return lines.join(`\n${" ".repeat(indent)}`)
}
