/**
 * `connet demo`: the quick start of the README on one machine. Three real processes of this program, a real web server
 * behind the destination, and a download through the tunnel whose hash is checked.
 */
import { Console, Effect, Option, Schedule, Schema } from "effect"
import { fetchFile } from "./fetchFile.ts"
import { type LogEvent, type Role, startRole } from "./Role.ts"
import { ENDPOINT, MEBIBYTE, makeDownload, makeStage, temporaryFolder } from "./Stage.ts"
import { website } from "./website.ts"

/** A step of the demo did not work. */
export class DemoFailed extends Schema.TaggedError<DemoFailed>()("DemoFailed", { step: Schema.String }) {
  override get message() {
    return `the demo failed: ${this.step}`
  }
}

/** Plays the demo; `command` starts this program. Until interrupted, unless `once`. */
export const playDemo = Effect.fnUntraced(function* (options: {
  readonly once: boolean
  /** No direct path: the relay carries everything. */
  readonly relay: boolean
  readonly mebibytes: number
  readonly command: readonly [string, ...Array<string>]
}) {
  yield* Console.log("connet demo: a server, a destination and a source, as three processes on this machine\n")
  const folder = yield* temporaryFolder
  const download = yield* makeDownload(folder, options.mebibytes)
  const sitePort = yield* website(download)
  const stage = yield* makeStage({ folder, download, sitePort, route: options.relay ? "relay" : "any" })
  const [program, ...args] = options.command

  const server = yield* startRole("server", [program, ...args, "server"], stage.files.server)
  yield* say("server", `process ${server.pid}, with a certificate and a token made for this demo`)
  const destination = yield* startRole("destination", options.command, stage.files.destination)
  yield* say("destination", `process ${destination.pid}, offers "${ENDPOINT}": a web server at 127.0.0.1:${sitePort}`)
  const source = yield* startRole("source", options.command, stage.files.source)
  const url = `http://127.0.0.1:${stage.sourcePort}`
  yield* say("source", `process ${source.pid}, opens "${ENDPOINT}" at ${url}\n`)

  const roles = { server, destination, source }
  yield* Effect.raceFirst(
    watch(roles),
    Effect.gen(function* () {
      yield* tell(stage.download, url, source, options.relay)
      if (options.once) return
      yield* Console.log(`\n  Try it: ${url}/   (Ctrl-C ends it)`)
      return yield* Effect.never
    }).pipe(Effect.tapError(() => tellLogs(roles)))
  )
}, Effect.scoped)

/** What happened: who met whom, on which path, and how fast it was. */
const tell = Effect.fnUntraced(function* (
  download: { readonly bytes: number; readonly sha256: string },
  url: string,
  source: Role,
  relayed: boolean
) {
  const started = performance.now()
  yield* fetchFile(`${url}/`).pipe(
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => new DemoFailed({ step: "no answer in 5 s" }) }),
    Effect.retry(Schedule.spaced("50 millis")),
    Effect.timeoutOrElse({
      duration: TUNNEL_DEADLINE,
      orElse: () => new DemoFailed({ step: `nothing came through the tunnel within ${TUNNEL_DEADLINE}` })
    })
  )
  yield* say("tunnel", `up ${Math.round(performance.now() - started)} ms after the processes were started`)
  // The log of the other process may come a little later than the bytes of the tunnel.
  const met = yield* Effect.map(source.events, (events) => meeting(events, relayed)).pipe(
    Effect.flatMap(Effect.fromNullishOr),
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.timeoutOption("2 seconds")
  )
  if (Option.isSome(met)) yield* say("met", met.value)

  const first = yield* fetchFile(`${url}/`).pipe(
    Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => new DemoFailed({ step: "no answer in 5 s" }) })
  )
  yield* say("first byte", `${first.firstByteMillis.toFixed(1)} ms on a new connection`)
  const fetched = yield* fetchFile(`${url}/download.bin`).pipe(
    Effect.timeoutOrElse({
      duration: DOWNLOAD_DEADLINE,
      orElse: () => new DemoFailed({ step: `the download was not there after ${DOWNLOAD_DEADLINE}` })
    })
  )
  if (fetched.bytes !== download.bytes || fetched.sha256 !== download.sha256) {
    return yield* new DemoFailed({ step: `${fetched.bytes} bytes came, and not the ones that were sent` })
  }
  const seconds = fetched.totalMillis / 1_000
  const megabits = (fetched.bytes * 8) / 1e6 / seconds
  yield* say(
    "download",
    `${fetched.bytes / MEBIBYTE} MiB in ${seconds.toFixed(2)} s, ${Math.round(megabits)} Mbit/s, SHA-256 equal`
  )
})

/** The path that opened, or the relay that carried, as the source logged it. */
const meeting = (events: ReadonlyArray<LogEvent>, relayed: boolean): string | undefined => {
  const event = events.findLast(({ message }) => message === (relayed ? "path.selected" : "path.open"))
  if (event === undefined) return undefined
  const { address, carrier, rttMillis, encryption } = event
  const roundTrip = typeof rttMillis === "number" ? `, round trip ${rttMillis.toFixed(1)} ms` : ""
  return relayed
    ? `the relay at ${address} carries everything and can read nothing: end to end it is ${encryption}${roundTrip}`
    : `the source met the destination at ${address}, directly over ${carrier === "tcp" ? "TCP" : "QUIC"}${roundTrip}`
}

/** Fails as soon as one of the processes ends. */
const watch = (roles: Readonly<Record<string, Role>>) =>
  Effect.raceAllFirst(Object.values(roles).map(({ ended }) => ended))

const tellLogs = (roles: Readonly<Record<string, Role>>) =>
  Effect.forEach(Object.entries(roles), ([name, { log }]) =>
    Effect.flatMap(log, (lines) => Console.error(`last lines of the ${name}:\n${lines}\n`))
  )

const say = (what: string, text: string) => Console.log(`  ${what.padEnd(12)} ${text}`)

/** Far more than the second or two that it takes on a busy machine. */
const TUNNEL_DEADLINE = "30 seconds"
const DOWNLOAD_DEADLINE = "60 seconds"
