/**
 * One process of the demo: this very program with a configuration file, whose log is read as events.
 *
 * The process is told to stop when its Scope closes, and killed when it has not half a second later.
 */
import { dirname } from "node:path"
import { Deferred, Effect, Ref, Result, Schema, Stream } from "effect"
import { ChildProcess } from "effect/process"

/** An event of the log, with its fields. */
const LogEvent = Schema.fromJsonString(
  Schema.StructWithRest(Schema.Struct({ level: Schema.String, message: Schema.String }), [
    Schema.Record(Schema.String, Schema.Unknown)
  ])
)
export type LogEvent = typeof LogEvent.Type

/** The process ended although nobody asked it to. */
export class RoleEnded extends Schema.TaggedError<RoleEnded>()("RoleEnded", {
  role: Schema.String,
  code: Schema.Int,
  /** The last lines that it wrote. */
  log: Schema.String
}) {
  override get message() {
    return `the ${this.role} ended with code ${this.code}:\n${this.log}`
  }
}

export interface Role {
  readonly pid: number
  /** The events it logged so far, oldest first; at most 1,000. */
  readonly events: Effect.Effect<ReadonlyArray<LogEvent>>
  /** Its last lines that were not events, or all of them when there are few. */
  readonly log: Effect.Effect<string>
  /** Fails when the process ends. */
  readonly ended: Effect.Effect<never, RoleEnded>
}

/** Starts a role of the demo; `command` is what stands before its flags. */
export const startRole = Effect.fnUntraced(function* (
  role: string,
  command: readonly [string, ...Array<string>],
  configFile: string
) {
  const [program, ...args] = command
  const handle = yield* ChildProcess.make(program, [...args, "--config", configFile, "--log-format", "json"], {
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    env: { CONNET_CACHE_DIR: dirname(configFile) },
    extendEnv: true,
    forceKillAfter: "500 millis"
  })
  const lines = yield* Ref.make<ReadonlyArray<string>>([])
  const drained = yield* Deferred.make<void>()
  yield* handle.stderr.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.runForEach((line) => Ref.update(lines, (all) => [...all.slice(-MAX_LINES), line])),
    Effect.tapCause((cause) => Effect.logDebug("reading the log failed", cause)),
    Effect.ensuring(Deferred.succeed(drained, undefined)),
    Effect.forkScoped
  )
  const log = Effect.map(Ref.get(lines), (all) => all.slice(-8).join("\n"))
  return {
    pid: handle.pid,
    log,
    events: Effect.map(Ref.get(lines), (all) =>
      all.map((line) => decodeEvent(line)).flatMap((result) => (Result.isSuccess(result) ? [result.success] : []))
    ),
    ended: Effect.gen(function* () {
      const code = yield* handle.exitCode.pipe(Effect.orElseSucceed(() => -1))
      yield* Deferred.await(drained).pipe(Effect.timeoutOption("1 second"))
      return yield* new RoleEnded({ role, code, log: yield* log })
    })
  } satisfies Role
})

const decodeEvent = Schema.decodeUnknownResult(LogEvent)

const MAX_LINES = 1_000
