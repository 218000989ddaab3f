/** The scripts beside this file, run where a test wants them. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { Data, Effect } from "effect"
import { startProgram } from "../cli/Process.ts"

/** Where a program runs: a host of a lab, or this machine. */
export interface Place {
  readonly address: string
  /** A command that runs the one behind it there, as the same process. */
  readonly inside: ReadonlyArray<string>
}

/** What a user got back. */
export interface Visit {
  /** The first bytes that came, as text; undefined when none did. */
  readonly reply?: string
  /** Why none came. */
  readonly failed?: string
  /** From before the connection was opened. */
  readonly millis: number
}

/** A user's script did not end well. */
export class ScriptFailed extends Data.TaggedError("ScriptFailed")<{ readonly message: string }> {}

const command = (script: string, args: ReadonlyArray<string | number>) => [
  process.execPath,
  join(import.meta.dirname, script),
  ...args.map(String)
]

/** Runs a service that sends everything back, over TCP and UDP. */
export const startEcho = Effect.fnUntraced(function* (place: Place, port: number) {
  const service = yield* startProgram([...place.inside, ...command("echo.ts", [port])], import.meta.dirname)
  yield* service.says("listening")
  return service
})

/** Has the router of a hidden host forward ports at an address of its own: `name` is the one of the host. */
export const startNatPmp = Effect.fnUntraced(function* (name: string, gateway: Place, outside: string) {
  const script = command("natPmp.ts", [gateway.address, outside, `${name}-nat`])
  const router = yield* startProgram([...gateway.inside, ...script], import.meta.dirname)
  yield* router.says("listening")
  return router
})

/** Waits until something there listens on a TCP port. */
export const untilListening = (place: Place, port: number) =>
  startProgram([...place.inside, ...command("reach.ts", [place.address, port])], import.meta.dirname).pipe(
    Effect.flatMap(({ ended }) => ended),
    Effect.scoped
  )

/** A user there sends a line and waits for the first bytes of the answer. */
export const visitFrom = (
  place: Place,
  options: {
    readonly protocol?: "tcp" | "udp"
    readonly address: string
    readonly port: number
    readonly text: string
    readonly patienceMillis?: number
    /** The URL of a proxy to go through, by TCP. */
    readonly proxy?: string
  }
): Effect.Effect<Visit, ScriptFailed> =>
  Effect.callback((resume) => {
    const { protocol = "tcp", address, port, text, patienceMillis = 10_000, proxy = "" } = options
    const [program = "", ...args] = [
      ...place.inside,
      ...command("user.ts", [protocol, address, port, text, patienceMillis, proxy])
    ]
    const child = execFile(program, args, { timeout: 20_000 }, (error, stdout) =>
      resume(error === null ? Effect.succeed(JSON.parse(stdout)) : new ScriptFailed({ message: error.message }))
    )
    return Effect.sync(() => child.kill("SIGKILL"))
  })
