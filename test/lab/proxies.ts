/** Proxies as others run them, tinyproxy and microsocks: on this machine, or on a host of a lab. */
import { Effect } from "effect"
import { startProgram } from "../cli/Process.ts"
import { freePort } from "../cli/Tunnel.ts"
import { folder } from "../config/golden.ts"
import { type Place, untilListening } from "./scripts.ts"

/** An HTTP proxy; it lets everybody connect to everything unless it is told otherwise. Its port. */
export const tinyproxy = Effect.fnUntraced(function* (
  options: { readonly user?: string; readonly connectPort?: number; readonly port?: number } = {},
  place: Place = HERE
) {
  const port = options.port ?? (yield* freePort)
  const path = yield* folder({
    "tinyproxy.conf": [
      `Port ${port}\nListen ${place.address}\nTimeout 60\nLogLevel Critical`,
      ...(options.user === undefined ? [] : [`BasicAuth ${options.user}`]),
      ...(options.connectPort === undefined ? [] : [`ConnectPort ${options.connectPort}`])
    ].join("\n")
  })
  yield* startProgram([...place.inside, "tinyproxy", "-d", "-c", "tinyproxy.conf"], path)
  yield* untilListening(place, port)
  return port
})

/** A SOCKS5 proxy. Its port. */
export const microsocks = Effect.fnUntraced(function* (
  options: { readonly user?: string; readonly password?: string; readonly port?: number } = {},
  place: Place = HERE
) {
  const port = options.port ?? (yield* freePort)
  const { user, password = "" } = options
  const authentication = user === undefined ? [] : ["-u", user, "-P", password]
  yield* startProgram(
    [...place.inside, "microsocks", "-i", place.address, "-p", String(port), ...authentication],
    import.meta.dirname
  )
  yield* untilListening(place, port)
  return port
})

const HERE: Place = { address: "127.0.0.1", inside: [] }
