/**
 * The settings of a server, checked: `[server]` of the files and the server's flags.
 */
import { Duration, Effect, type Redacted, Result } from "effect"
import { ConfigError, type ConfigReason, ValueInvalid, ValueMissing } from "./ConfigError.ts"
import type { ConfigSource, IngressTable } from "./ConfigTables.ts"
import { fold, originOf } from "./fold.ts"
import { type HostPort, parseListenAddress } from "./HostPort.ts"
import { serverTokens } from "./Tokens.ts"

export interface IngressConfig {
  readonly address: HostPort
  readonly certificateFile: string
  readonly keyFile: string
}

export interface ServerConfig {
  /** Each a token, or the hash of one behind `sha256:`. Empty: no client can connect. */
  readonly tokens: ReadonlyArray<Redacted.Redacted<string>>
  /** Where clients connect to; at least one. */
  readonly ingresses: readonly [IngressConfig, ...Array<IngressConfig>]
  /** How long the endpoints of a lost client stay announced; zero: they are withdrawn at once. */
  readonly endpointExpiry: Duration.Duration
}

/** The settings after folding the sources, or everything that is wrong with them. */
export const serverConfig = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const table = fold(sources).server ?? {}
  const problems: Array<ConfigReason> = []
  const origin = (path: ReadonlyArray<PropertyKey>) => originOf(sources, ["server", ...path])

  const unaddressed = (table.ingress ?? []).findIndex(({ addr = "" }) => addr === "")
  const ingresses = (table.ingress ?? []).flatMap((ingress, index) => {
    const checked = checkIngress(ingress, index, index === unaddressed, origin)
    if (Result.isSuccess(checked)) return [checked.success]
    problems.push(...checked.failure)
    return []
  })
  if ((table.ingress ?? []).length === 0) {
    const detail = "give the server a certificate with [[server.ingress]] cert-file and key-file"
    problems.push(new ValueMissing({ key: "server.ingress", detail }))
  }

  const tokens = yield* Effect.result(
    serverTokens({ file: table["tokens-file"] ?? "", literals: table.tokens ?? [], origin: origin(["tokens"]) })
  )
  if (Result.isFailure(tokens)) problems.push(tokens.failure)

  const [first, ...rest] = problems
  const [ingress, ...more] = ingresses
  if (first !== undefined || ingress === undefined || Result.isFailure(tokens)) {
    return yield* new ConfigError({ reasons: [first!, ...rest] })
  }
  const nanos = table["endpoint-expiry-timeout"] ?? 0n
  return {
    tokens: tokens.success,
    ingresses: [ingress, ...more],
    endpointExpiry: table["endpoint-expiry-disable"]
      ? Duration.zero
      : nanos > 0n
        ? Duration.nanos(nanos)
        : ENDPOINT_EXPIRY
  } satisfies ServerConfig
})

const checkIngress = (
  table: IngressTable,
  index: number,
  hasDefault: boolean,
  origin: (path: ReadonlyArray<PropertyKey>) => string
): Result.Result<IngressConfig, ReadonlyArray<ConfigReason>> => {
  const key = (name: string) => `server.ingress[${index}].${name}`
  const problems: Array<ConfigReason> = []
  for (const name of ["cert-file", "key-file"] as const) {
    if ((table[name] ?? "") === "") {
      problems.push(new ValueMissing({ key: key(name), detail: "every ingress needs a certificate and its key" }))
    }
  }
  // Upstream gives the second one a port that nobody knows.
  if ((table.addr ?? "") === "" && !hasDefault) {
    problems.push(new ValueMissing({ key: key("addr"), detail: "only one ingress can have the default, :19190" }))
  }
  const address = parseListenAddress(table.addr || ":19190")
  if (Result.isFailure(address)) {
    const from = origin(["ingress", index, "addr"])
    problems.push(new ValueInvalid({ origin: from, key: key("addr"), detail: address.failure }))
  }
  return Result.isSuccess(address) && problems.length === 0
    ? Result.succeed({ address: address.success, certificateFile: table["cert-file"]!, keyFile: table["key-file"]! })
    : Result.fail(problems)
}

/** Long enough for a client to reconnect after a lost network, as upstream has it. */
const ENDPOINT_EXPIRY = Duration.seconds(30)
