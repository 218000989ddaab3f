/** Proxies as others run them: tinyproxy and microsocks, each a process on a free port of this machine. */
import { type ChildProcess, spawn } from "node:child_process"
import { connect } from "node:net"
import { Effect, Schedule } from "effect"
import { tcpPort } from "../../cli/Tunnel.ts"
import { folder } from "../../config/golden.ts"

/** An HTTP proxy; it lets everybody connect to everything unless it is told otherwise. */
export const tinyproxy = Effect.fnUntraced(function* (
  options: { readonly user?: string; readonly connectPort?: number } = {}
) {
  const port = yield* tcpPort
  const path = yield* folder({
    "tinyproxy.conf": [
      `Port ${port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nLogLevel Critical`,
      ...(options.user === undefined ? [] : [`BasicAuth ${options.user}`]),
      ...(options.connectPort === undefined ? [] : [`ConnectPort ${options.connectPort}`])
    ].join("\n")
  })
  yield* running("tinyproxy", ["-d", "-c", `${path}/tinyproxy.conf`], port)
  return port
})

/** A SOCKS5 proxy. */
export const microsocks = Effect.fnUntraced(function* (credentials?: {
  readonly user: string
  readonly password: string
}) {
  const port = yield* tcpPort
  const authentication = credentials === undefined ? [] : ["-u", credentials.user, "-P", credentials.password]
  yield* running("microsocks", ["-i", "127.0.0.1", "-p", String(port), ...authentication], port)
  return port
})

/** Runs a program until the Scope ends, and waits until it listens. */
const running = (program: string, args: ReadonlyArray<string>, port: number) =>
  Effect.acquireRelease(
    Effect.sync(() => spawn(program, args, { stdio: "ignore" })),
    (child) =>
      Effect.callback<void>((resume) => {
        if (isOver(child)) return resume(Effect.void)
        child.once("exit", () => resume(Effect.void))
        child.kill("SIGKILL")
      })
  ).pipe(
    Effect.flatMap((child) =>
      isListening(port).pipe(
        Effect.retry({ schedule: Schedule.spaced("10 millis"), while: () => !isOver(child) }),
        Effect.timeout("10 seconds"),
        Effect.orDie
      )
    )
  )

const isOver = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const isListening = (port: number) =>
  Effect.callback<void, Error>((resume) => {
    const socket = connect({ port, host: "127.0.0.1" })
    socket.on("error", (error) => resume(Effect.fail(error)))
    socket.on("connect", () => {
      socket.destroy()
      resume(Effect.void)
    })
    return Effect.sync(() => socket.destroy())
  })
