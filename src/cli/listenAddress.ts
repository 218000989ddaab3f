import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { Effect } from "effect"
import { ConfigError, ValueInvalid } from "../config/ConfigError.ts"
import type { HostPort } from "../config/HostPort.ts"
import type { Place } from "../config/Place.ts"
import type { SocketAddress } from "../domain/SocketAddress.ts"

/**
 * The address to bind for the setting at a place: no host means every address of both families, a name is resolved.
 */
export const listenAddress = Effect.fnUntraced(function* ({ key, origin }: Place, { host, port }: HostPort) {
  const failed = (detail: string) =>
    new ConfigError({ reasons: [new ValueInvalid({ origin: origin([]), key, detail })] })
  if (host === "") return { host: "::", port } satisfies SocketAddress
  if (isIP(host.replace(/%.*$/, "")) !== 0) return { host, port } satisfies SocketAddress
  const resolved = yield* Effect.tryPromise({
    try: () => lookup(host),
    catch: (cause) => {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error"
      return failed(`"${host}" cannot be resolved (${code}); write an IP address of this machine`)
    }
  }).pipe(
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => failed(`"${host}" was not resolved in 10 seconds; write an IP address of this machine`)
    })
  )
  return { host: resolved.address, port } satisfies SocketAddress
})
