import { Effect } from "effect"
import type { Connection, TransportStream } from "./Transport.ts"
import { type Closed, type Lost, TransportError } from "./TransportError.ts"

/** A connection as the drivers of QUIC and TCP have it, in plain TypeScript: whoever waits is called back. */
export interface DrivenConnection {
  readonly state: "opening" | "open" | "ended"
  readonly endReason: Closed | Lost | undefined
  /** Each of these returns what withdraws the callback. */
  onEnd(ended: (reason: Closed | Lost) => void): () => void
  open(opened: (stream: TransportStream) => void): () => void
  accept(accepted: (stream: TransportStream) => void): () => void
  probe(answered: () => void): () => void
  close(code: number, text: string): void
}

/** What can be done with a connection, as Effects: what waits for something waits for as long as there is a connection. */
export const connectionOf = (
  connection: DrivenConnection
): Pick<Connection, "open" | "accept" | "close" | "ended" | "closed" | "probe"> => {
  const failed = () => Effect.fail(new TransportError({ reason: connection.endReason! }))
  const wait = <A>(begin: (found: (value: A) => void) => () => void) =>
    Effect.callback<A, TransportError>((resume) => {
      if (connection.state === "ended") {
        resume(failed())
        return
      }
      const withdrawEnd = connection.onEnd(() => resume(failed()))
      const withdraw = begin((value) => {
        withdrawEnd()
        resume(Effect.succeed(value))
      })
      return Effect.sync(() => {
        withdrawEnd()
        withdraw()
      })
    })
  return {
    open: wait((opened) => connection.open(opened)),
    accept: wait((accepted) => connection.accept(accepted)),
    close: (code, text) => Effect.sync(() => connection.close(code, text)),
    ended: () => connection.endReason,
    closed: Effect.callback((resume) => {
      if (connection.endReason !== undefined) {
        resume(Effect.succeed(connection.endReason))
        return
      }
      return Effect.sync(connection.onEnd((reason) => resume(Effect.succeed(reason))))
    }),
    probe: Effect.suspend(() => {
      const begin = performance.now()
      return Effect.map(
        wait<void>((answered) => connection.probe(() => answered())),
        () => performance.now() - begin
      )
    })
  }
}
