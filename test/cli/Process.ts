/** A real process of the command line, its log, and its end. Killed, at the latest, with its Scope. */
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import { Effect, Schedule, Schema } from "effect"

const BIN = join(import.meta.dirname, "..", "..", "src", "bin.ts")

/** What was waited for did not happen in time; the message holds all that the process wrote. */
export class TookTooLong extends Schema.TaggedError<TookTooLong>()("TookTooLong", { detail: Schema.String }) {
  override get message() {
    return this.detail
  }
}

export interface Process {
  readonly pid: number
  /** What it wrote to stderr so far. */
  readonly log: () => string
  /** Sends a signal and waits for the end: the exit code (null when it was killed), and how long it took. */
  readonly stop: (signal: NodeJS.Signals) => Effect.Effect<{ code: number | null; millis: number }, TookTooLong>
  /** Waits until it ends by itself. */
  readonly ended: Effect.Effect<number | null, TookTooLong>
  /** Waits until its log holds a text, or matches a pattern. */
  readonly says: (text: string | RegExp) => Effect.Effect<void, TookTooLong>
  /** Waits until it has written a line to stdout; the line. */
  readonly prints: Effect.Effect<string, TookTooLong>
}

/** Runs connet in a folder; `inside` is a command that becomes the one behind it, like `ip netns exec NAME`. */
export const startProcess = (args: ReadonlyArray<string>, folder: string, inside: ReadonlyArray<string> = []) =>
  startProgram([...inside, process.execPath, BIN, ...args, ...unmapped(args)], folder)

/** No client of a test asks the router of this machine for anything, unless the test says so. */
const unmapped = (args: ReadonlyArray<string>): ReadonlyArray<string> => {
  const isClient = args[0]?.startsWith("--") === true
  return isClient && !args.includes("--nat-pmp") ? ["--nat-pmp", "disabled"] : []
}

/** Runs any command in a folder, in the same way. */
export const startProgram = Effect.fnUntraced(function* (command: ReadonlyArray<string>, folder: string) {
  let log = ""
  let output = ""
  const [program = "", ...args] = command
  const child = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(program, args, {
        cwd: folder,
        // Nothing is kept outside the folder.
        env: { ...process.env, CONNET_CACHE_DIR: ".", XDG_STATE_HOME: folder },
        stdio: ["ignore", "pipe", "pipe"]
      })
      child.stderr!.setEncoding("utf8").on("data", (text) => {
        log += text
      })
      child.stdout!.setEncoding("utf8").on("data", (text) => {
        output += text
      })
      return child
    }),
    (child) =>
      Effect.callback<void>((resume) => {
        if (isOver(child)) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  )
  const over = Effect.callback<number | null>((resume) => {
    if (isOver(child)) return resume(Effect.succeed(child.exitCode))
    child.once("exit", (code) => resume(Effect.succeed(code)))
  })
  const within = <A, E>(effect: Effect.Effect<A, E>, what: string) =>
    effect.pipe(
      Effect.timeoutOrElse({
        duration: "30 seconds",
        orElse: () => new TookTooLong({ detail: `${command.join(" ")}: ${what} within 30 s; it wrote:\n${log}` })
      })
    )
  return {
    pid: child.pid!,
    log: () => log,
    ended: within(over, "did not end"),
    stop: (signal) =>
      within(
        Effect.gen(function* () {
          const started = performance.now()
          child.kill(signal)
          const code = yield* over
          return { code, millis: performance.now() - started }
        }),
        `did not end after ${signal}`
      ),
    says: (text) =>
      within(
        waitUntil(() => (typeof text === "string" ? log.includes(text) : text.test(log))),
        `did not say ${typeof text === "string" ? `"${text}"` : text}`
      ),
    prints: within(
      Effect.map(
        waitUntil(() => output.includes("\n")),
        () => output.slice(0, output.indexOf("\n"))
      ),
      "did not print a line"
    )
  } satisfies Process
})

const isOver = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

/** Looks again and again, whoever waits sets the deadline. */
const waitUntil = (holds: () => boolean) =>
  Effect.suspend(() => (holds() ? Effect.void : Effect.fail("not yet" as const))).pipe(
    Effect.retry(Schedule.spaced("20 millis")),
    Effect.orDie
  )
