/** The list of events has every event of the source, with its level and fields, and no other. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { layerLogging } from "../../src/cli/logging.ts"
import { blocks, codes, events, ROOT, read, undocumentedIn } from "./documents.ts"

const DOCUMENT = "docs/logging.md"
const SOURCE = join(ROOT, "src")

const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts") && !/^(cli\/demo|config|protocol)\b/.test(file))
  .map((file) => readFileSync(join(SOURCE, file), "utf8"))

const LEVELS: Readonly<Record<string, string>> = { Info: "info", Warning: "warn", Error: "error", Debug: "debug" }
const NAME = /^[a-z]+(?:\.[a-z]+)+$/
/** What keepSession calls its peer stands before the dot of its events. */
const LABELS = ["server", "control"]
const LABEL = "$" + "{label}"

/** Every event in a text, with its level; several functions are handed the name of an event, and log it as `info`. */
const eventsOf = (text: string): ReadonlyArray<readonly [string, string]> => [
  ...[...text.matchAll(/Effect\.log(\w+)\)?\(\s*["`]([\w.${}]+)["`]/g)].flatMap(([, level, name]) =>
    (name!.startsWith(LABEL) ? LABELS.map((label) => name!.replace(LABEL, label)) : [name!]).map(
      (event) => [event, LEVELS[level!]!] as const
    )
  ),
  ...[...text.matchAll(/(?:event: |crowdedOut\(\w+, |refuse\(|\.PROTOCOLS, )"([a-z.]+)"/g)].map(
    ([, event]) => [event!, "info"] as const
  )
]

/** Texts of the shape of an event that are none. */
const NO_EVENTS = new Set(["connet.peer", "reserve.relay", "route.exe", "relay.ingress", "server.ingress"])

const rows = events()

describe("the list of events", () => {
  it("has every event of level info and above with its level, and no other", () => {
    const logged = files.flatMap(eventsOf).filter(([event, level]) => NAME.test(event) && level !== "debug")
    const said = (pairs: ReadonlyArray<readonly [string, string]>) => [...new Set(pairs.map(String))].sort()
    assert.deepEqual(said(rows.map(({ event, level }) => [event, level])), said(logged))
  })

  it("is compared with every text of the source that could be an event", () => {
    const known = new Set(files.flatMap(eventsOf).map(([event]) => event))
    const literals = files.flatMap((text) => [...text.matchAll(/"([a-z]+(?:\.[a-z]+)+)"/g)].map(([, text]) => text!))
    const unknown = literals.filter((text) => !known.has(text) && !NO_EVENTS.has(text) && !/\.(json|ts)$/.test(text))
    assert.deepEqual(unknown, [])
    assert.isAbove(known.size, 50)
    const labels = files.flatMap((text) => [...text.matchAll(/label: "(server|control)"/g)].map(([, label]) => label!))
    assert.sameMembers([...new Set(labels)], LABELS)
  })

  it("names only fields that are logged with the event, or with all of its surroundings", () => {
    const surroundings = new Set(["endpoint", "role", "peer", "relay", "token", "address", "reason", "cause"])
    for (const { event, fields } of rows) {
      const own = files.filter((text) => eventsOf(text).some(([name]) => name === event)).join("\n")
      for (const field of fields) {
        if (surroundings.has(field) || LABELS.includes(field)) continue
        assert.match(own, new RegExp(`\\b${field}\\b`), `${event} has no field ${field}`)
      }
    }
  })

  it("names the events of level debug that it speaks of rightly", () => {
    const debug = new Set(files.flatMap(eventsOf).flatMap(([event, level]) => (level === "debug" ? [event] : [])))
    const [, sentence] = /With `debug` come (.*?)and\s+sentences/s.exec(read(DOCUMENT))!
    for (const event of codes(sentence!)) assert.isTrue(debug.has(event), event)
  })

  it.effect("shows the lines as they are written", () =>
    Effect.gen(function* () {
      const event = Effect.logInfo("endpoint.online").pipe(
        Effect.annotateLogs({ endpoint: "web", role: "source", peers: 1 })
      )
      for (const format of ["text", "json"] as const) {
        const lines: Array<string> = []
        yield* Effect.provide(
          event,
          layerLogging({ level: "info", format }, (line) => void lines.push(line))
        )
        const [shown] = blocks(DOCUMENT).filter(({ language }) => language === format)
        const first = `${shown!.text.split("\n")[0]}\n`
        assert.strictEqual(first.replace("2026-11-27T21:58:32.435Z", "1970-01-01T00:00:00.000Z"), lines[0])
      }
    })
  )

  it("misses what it does not have", () => {
    const line = (rest: string) => `2026-11-27T21:58:32.435Z info  ${rest}\n`
    assert.deepEqual(undocumentedIn(line('relay.lost link=0 reason="a=b c=d"') + line("no event.here x=y")), [])
    assert.deepEqual(undocumentedIn(line("peer.met endpoint=web colour=red") + line("peer.lost x=y")), [
      "peer.met colour",
      "peer.lost"
    ])
  })
})
