/** Upstream's configuration cases (test/fixtures/config.json), and running one of them. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, isAbsolute, join } from "node:path"
import { ConfigProvider, Duration, Effect, Redacted } from "effect"
import { lastingResetKey } from "../../src/cli/lastingResetKey.ts"
import { prepare } from "../../src/cli/Role.ts"
import { type ClientConfig, clientConfig } from "../../src/config/ClientConfig.ts"
import type { ConfigError } from "../../src/config/ConfigError.ts"
import type { ConfigSource } from "../../src/config/ConfigTables.ts"
import { controlConfig } from "../../src/config/ControlConfig.ts"
import { type EndpointConfig, SKIP_VERIFY, type SourceConfig } from "../../src/config/EndpointConfig.ts"
import type { HostPort } from "../../src/config/HostPort.ts"
import type { RelayIngressConfig, ServerIngressConfig } from "../../src/config/Ingress.ts"
import { logConfig } from "../../src/config/LogConfig.ts"
import { loadFiles } from "../../src/config/loadFiles.ts"
import { relayConfig } from "../../src/config/RelayConfig.ts"
import { serverConfig } from "../../src/config/ServerConfig.ts"
import type { EndpointUrl } from "../../src/domain/EndpointUrl.ts"
import type { TokenRule } from "../../src/domain/TokenRule.ts"

export type Role = "client" | "server" | "control" | "relay"

export interface GoldenCase {
  readonly id: number
  readonly note: string
  readonly command: Role | "check"
  readonly files: ReadonlyArray<{ readonly name: string; readonly toml?: string }>
  readonly extra_files?: ReadonlyArray<{ name: string; text?: string; repeat?: string; times?: number }>
  readonly flags?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  readonly merged?: Readonly<Record<string, unknown>>
  readonly merged_root?: unknown
  readonly result: {
    readonly ok: boolean
    readonly phase?: "flags" | "load" | "log" | "start"
    readonly kind?: string
    readonly key?: string
    readonly keys?: ReadonlyArray<string>
    readonly effective?: Readonly<Record<string, unknown>>
  }
}

export const golden = JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", "config.json"), "utf8")) as {
  readonly cases: ReadonlyArray<GoldenCase>
  readonly durations: ReadonlyArray<{ text: string; ok: boolean; nanoseconds: string }>
  readonly server_addresses: ReadonlyArray<{ server_addr: string; ok: boolean; dial: string; tls_name: string }>
  readonly reset_key_files: ReadonlyArray<{ direct_addr: string; file: string }>
  readonly hostports: ReadonlyArray<{ listen: string; text: string; ok: boolean; host: string; port: number }>
  readonly listen_addresses: ReadonlyArray<{ text: string; ok: boolean; address: string }>
  readonly endpoint_expiry: ReadonlyArray<{ disable: boolean; timeout_ns: number; effective_ns: number }>
  readonly token_files: ReadonlyArray<{ text: string; tokens: ReadonlyArray<string>; client_or_relay_use: string }>
}

/** A folder with these files, gone with the test. */
export const folder = (files: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const path = mkdtempSync(join(tmpdir(), "connet-config-"))
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(dirname(join(path, name)), { recursive: true })
        writeFileSync(join(path, name), text)
      }
      return path
    }),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )

const certificates = JSON.parse(readFileSync(join(import.meta.dirname, "..", "fixtures", "certs.json"), "utf8")) as {
  readonly certs: ReadonlyArray<{ readonly name: string; readonly cert_pem: string; readonly key_pem: string }>
}
const certificate = (name: string) => certificates.certs.find((one) => one.name === name)!

/** Files that are there in every case. */
const FIXTURES = {
  "cert.pem": certificate("server-multi").cert_pem,
  "key.pem": certificate("server-multi").key_pem,
  "ca.pem": certificate("root-a").cert_pem,
  "other-key.pem": certificate("server-b").key_pem,
  "not-a-cert.txt": "not a certificate\n"
}

/** What the case makes of its files and flags: a configuration in the shape of the fixture, or the error. */
export const runCase = Effect.fnUntraced(function* (golden: GoldenCase, flags: ReadonlyArray<ConfigSource>) {
  const extra = (golden.extra_files ?? []).map(({ name, text, repeat = "", times = 0 }) => ({
    name,
    text: text ?? repeat.repeat(times)
  }))
  const path = yield* folder({
    ...FIXTURES,
    ...Object.fromEntries(golden.files.flatMap(({ name, toml }) => (toml === undefined ? [] : [[name, toml]]))),
    ...Object.fromEntries(extra.map(({ name, text }) => [name, text]))
  })
  mkdirSync(join(path, "cache"), { recursive: true })
  const files = yield* loadFiles(golden.files.map(({ name }) => join(path, name)))
  // The cases name files relative to their own folder.
  const inFolder = (source: ConfigSource): ConfigSource =>
    JSON.parse(
      JSON.stringify(source, (key, value) => {
        if (typeof value === "bigint") return { nanos: String(value) }
        return key.endsWith("-file") && isRelative(value) ? join(path, value) : value
      }),
      (_, value) => (value?.nanos === undefined ? value : BigInt(value.nanos))
    )
  const sources = [...files, ...flags].map(inFolder)
  const { level, format } = yield* logConfig(sources)
  const log = { "log-level": level, "log-format": format }
  const roles = (["client", "server", "control", "relay"] as const).filter((name) =>
    golden.command === "check" ? sources.some(({ tables }) => tables[name] !== undefined) : golden.command === name
  )
  const effective: Partial<Record<Role, unknown>> = {}
  for (const name of roles) {
    const role = {
      name,
      prepare: (sources: ReadonlyArray<ConfigSource>) =>
        Effect.map(EFFECTIVE[name](sources, path), (config) => {
          effective[name] = config
          return Effect.never
        })
    }
    yield* prepare(role, { sources, problems: [] }).pipe(
      Effect.provideService(
        ConfigProvider.ConfigProvider,
        ConfigProvider.fromUnknown(environmentIn(path, golden.env ?? {}))
      )
    )
  }
  return { log, effective: golden.command === "check" ? undefined : effective[golden.command] }
})

const isRelative = (value: unknown) =>
  typeof value === "string" && value !== "" && value !== SKIP_VERIFY && !isAbsolute(value)

/** The cases run in their own folder, which has an empty `cache`; a cache that is no absolute path stays so. */
const environmentIn = (path: string, env: Readonly<Record<string, string>>) => {
  const inFolder = ["CONNET_CACHE_DIR", "CACHE_DIRECTORY", "HOME"]
  return Object.fromEntries(
    Object.entries({ CONNET_CACHE_DIR: "cache", HOME: "home", ...env }).map(([name, value]) => [
      name,
      inFolder.includes(name) && value !== "" ? join(path, value) : value
    ])
  )
}

const client = Effect.fnUntraced(function* (files: ReadonlyArray<ConfigSource>, path: string) {
  const config = yield* clientConfig(files)
  const common = ({ route, relayEncryptions, dialTimeout }: EndpointConfig) => ({
    route,
    relay_encryptions: relayEncryptions,
    dial_timeout_ns: dialTimeout === undefined ? 0 : nanos(dialTimeout)
  })
  const named = <A, B>(map: ReadonlyMap<string, A>, tell: (endpoint: A) => B) =>
    Object.fromEntries([...map].map(([name, endpoint]) => [name, tell(endpoint)]))
  const destinations = named(config.destinations, (destination) => ({
    ...common(destination),
    proxy: destination.proxyHeader,
    target: where(destination.url)
  }))
  const sources = named(config.sources, (source) => ({
    ...common(source),
    listen: where(source.url),
    ...balancing(source)
  }))
  return {
    token: Redacted.value(config.token),
    metadata: config.metadata,
    server_addr: text(config.server),
    server_tls_name: config.serverName,
    custom_server_cas: config.serverAuthoritiesFile !== undefined,
    direct_addr: text(config.directAddress),
    nat_pmp: config.natPmp,
    reset_key: yield* resetKey(config, path),
    status_addr: status(config),
    handshake_idle_timeout_ns: nanos(config.handshakeTimeout),
    destinations,
    sources
  }
})

/** The bytes that are configured or were there, or the file that was made. */
const resetKey = Effect.fnUntraced(function* (config: ClientConfig, path: string) {
  const keyFile = () => readdirSync(path, { recursive: true, encoding: "utf8" }).find((name) => name.endsWith(".key"))
  const hex = (key: Redacted.Redacted<Uint8Array>) => Buffer.from(Redacted.value(key)).toString("hex")
  if (config.resetKey !== undefined) return { bytes: hex(config.resetKey) }
  const before = keyFile()
  const key = yield* lastingResetKey(config.directAddress)
  if (key === undefined) return null
  if (before !== undefined) return { bytes: hex(key), from_file: before }
  const file = keyFile() ?? ""
  const bytes = readFileSync(join(path, file))
  if (bytes.toString("hex") !== hex(key)) throw new Error(`${file} holds another key`)
  const mode = (statSync(join(path, file)).mode & 0o777).toString(8).padStart(4, "0")
  return { generated_file: file, size: bytes.length, mode }
})

const where = (url: EndpointUrl) => {
  switch (url._tag) {
    case "unix":
      return { scheme: url._tag, path: url.path }
    case "file":
      return { scheme: url._tag, directory: url.root }
    case "http":
    case "https":
      return { scheme: url._tag, host_port: url.authority, path: url.basePath, query: url.query }
    case "ws":
    case "wss":
      return { scheme: url._tag, host_port: url.authority, path: url.path, query: "" }
    default:
      return { scheme: url._tag, host_port: text(url) }
  }
}

/** Upstream's words for it. */
const balancing = ({ balancing: { policy, retry } }: SourceConfig) => {
  const max = retry._tag === "Count" ? retry.destinations : retry._tag === "Timed" ? retry.millis : 0
  const words = { Never: "", Count: "count", Timed: "timed", All: "all" }
  return {
    lb_policy: policy === "none" ? "" : policy,
    lb_retry: policy === "none" ? "" : words[retry._tag],
    lb_retry_max: max
  }
}

const server = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const config = yield* serverConfig(sources)
  return {
    clients_ingress: listening(config.ingresses),
    tokens: config.tokens.map(clientToken),
    endpoint_expiry_ns: nanos(config.endpointExpiry),
    relay_ingress: advertising(config.relayIngresses),
    status_addr: status(config),
    store_dir: config.storeFolder ?? null
  }
})

const control = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const config = yield* controlConfig(sources)
  return {
    clients_ingress: listening(config.clients.ingresses),
    client_tokens: config.clients.tokens.map(clientToken),
    endpoint_expiry_ns: nanos(config.endpointExpiry),
    relays_ingress: listening(config.relays.ingresses),
    relay_tokens: config.relays.tokens.map(relayToken),
    status_addr: status(config),
    store_dir: config.storeFolder ?? null
  }
})

const relay = Effect.fnUntraced(function* (sources: ReadonlyArray<ConfigSource>) {
  const config = yield* relayConfig(sources)
  return {
    token: Redacted.value(config.token),
    metadata: config.metadata,
    control_addr: text(config.control).replace("localhost", "127.0.0.1"),
    control_tls_name: config.controlName,
    custom_control_cas: config.controlAuthoritiesFile !== undefined,
    handshake_idle_timeout_ns: nanos(config.handshakeTimeout),
    ingress: advertising(config.ingresses),
    status_addr: status(config),
    store_dir: config.storeFolder ?? null
  }
})

const EFFECTIVE: Record<
  Role,
  (sources: ReadonlyArray<ConfigSource>, path: string) => Effect.Effect<unknown, ConfigError>
> = { client, server, control, relay }

const status = ({ statusAddress }: { readonly statusAddress: HostPort | undefined }) =>
  statusAddress === undefined ? null : text(statusAddress)

const relayToken = ({ token, addresses: { allow, deny } }: TokenRule) => ({ token: Redacted.value(token), allow, deny })

const clientToken = (rule: TokenRule) => ({
  ...relayToken(rule),
  name_matches: rule.names?.expression ?? "",
  role: rule.role ?? ""
})

const listening = (ingresses: ReadonlyArray<ServerIngressConfig>) =>
  ingresses.map(({ address, certificate, addresses: { allow, deny } }) => ({
    listen: text(address),
    certificate: certificate !== undefined,
    allow,
    deny
  }))

const advertising = (ingresses: ReadonlyArray<RelayIngressConfig>) =>
  ingresses.map(({ address, advertised, addresses: { allow, deny } }) => ({
    listen: text(address),
    advertise: advertised,
    allow,
    deny
  }))

const nanos = (duration: Duration.Duration) => Number(Duration.toNanosUnsafe(duration))

export const text = ({ host, port }: HostPort) => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`)
