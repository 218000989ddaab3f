/**
 * The flags of the commands, with upstream's names, and the settings they stand for. They are folded after all files.
 */
import { Option } from "effect"
import { Flag, GlobalFlag } from "effect/cli"
import type { ConfigSource, ConfigTables } from "../config/ConfigTables.ts"
import { GoDuration } from "../config/ConfigTables.ts"
import { LogFormat, LogVerbosity } from "../config/LogConfig.ts"

/** A flag that may be left out. */
export const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const duration = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withSchema(GoDuration),
    Flag.withMetavar("duration"),
    Flag.withDescription(description),
    Flag.optional
  )

/** A flag that may be repeated. */
const texts = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.atLeast(0))

/** A flag that may be repeated, and holds several values between commas. */
const list = (name: string, metavar: string, description: string) =>
  texts(name, metavar, description).pipe(
    Flag.map((values) =>
      values
        .flatMap((value) => value.split(","))
        .map((value) => value.trim())
        .filter((value) => value !== "")
    )
  )

/** Names with what they stand for: `web=8080`, `web=host:8080`, `files=file:/srv`. A port is one of this machine. */
const pairs = (name: string, description: string) =>
  texts(name, "name=url", description).pipe(
    Flag.mapTryCatch(
      (values) => {
        const named = values.map(pair)
        const twice = named.find(([name], at) => named.findIndex(([other]) => other === name) !== at)
        if (twice !== undefined) throw new Error(`"${twice[0]}" is there twice; give each its own name`)
        return named
      },
      (error) => (error as Error).message
    )
  )

const pair = (text: string): readonly [string, string] => {
  const at = text.indexOf("=")
  if (at < 1 || at === text.length - 1) throw new Error(`"${text}" is not a name and a port or URL; write web=8080`)
  const target = text.slice(at + 1)
  if (/^\d+$/.test(target)) return [text.slice(0, at), `tcp://localhost:${target}`]
  return [text.slice(0, at), /^[a-z]+:(?!\d+$)/i.test(target) ? target : `tcp://${target}`]
}

/** `--config`, of every command. */
export const ConfigFlag = GlobalFlag.Setting("config")({
  flag: Flag.String("config").pipe(
    Flag.withMetavar("file"),
    Flag.withDescription("A TOML file with settings; of several, the last one wins"),
    Flag.atLeast(0)
  )
})

/** `--log-level`, of every command. */
export const LogLevelFlag = GlobalFlag.Setting("log-level")({
  flag: Flag.Literals("log-level", LogVerbosity.literals).pipe(
    Flag.withMetavar("level"),
    Flag.withDescription("What to log (default: info)"),
    Flag.optional
  )
})

/** `--log-format`, of every command. */
export const LogFormatFlag = GlobalFlag.Setting("log-format")({
  flag: Flag.Literals("log-format", LogFormat.literals).pipe(
    Flag.withMetavar("format"),
    Flag.withDescription("How to log it (default: text)"),
    Flag.optional
  )
})

const ROUTE = "Which paths it may use: any, direct or relay (default: any)"
const PROXY = "The proxy for TCP: http, https or socks5 URL, or none (default: HTTPS_PROXY, ALL_PROXY and NO_PROXY)"
const TRANSPORT = "What carries connections: auto, quic (UDP) or tcp (default: auto)"
const NAT_PMP = "How to find the router that forwards the port: system, dial or disabled (default: system)"
const STATUS = "Where to tell the status over HTTP, as JSON, like 127.0.0.1:19180; to whoever asks (default: nowhere)"
const statusFlag = text("status-addr", "host:port", STATUS)
const ENCRYPTIONS = "How relayed streams may be encrypted: none, tls, dhxcp (default: tls,dhxcp)"

export const clientFlags = {
  server: text("server", "link", "The link that the server prints: connet://token@host:port?pin=…"),
  expose: pairs("expose", "A service of this device: its port, host:port or URL"),
  use: pairs("use", "Where to use one of another device: a port here, or a URL"),
  token: text("token", "text", "What proves to the server that this client may connect"),
  "token-file": text("token-file", "file", "A file with the token in its first line"),
  metadata: text("metadata", "text", "Free text that peers and the server see"),
  "server-pin": text("server-pin", "sha256", "The fingerprint of the server's certificate, in place of authorities"),
  "server-addr": text("server-addr", "host:port", "The server (default: 127.0.0.1:19190)"),
  "server-cas-file": text("server-cas-file", "file", "PEM roots that vouch for the server (default: the system's)"),
  "server-name": text("server-name", "name", "The name on the server's certificate (default: the host of the server)"),
  "direct-addr": text("direct-addr", "host:port", "Where this client is reached directly (default: :19192)"),
  "status-addr": statusFlag,
  "nat-pmp": text("nat-pmp", "way", NAT_PMP),
  proxy: text("proxy", "url", PROXY),
  transport: text("transport", "carrier", TRANSPORT),
  "handshake-idle-timeout": duration("handshake-idle-timeout", "How long a handshake may take (default: 5s)"),
  "dst-name": text("dst-name", "name", "The name of a destination to offer"),
  "dst-url": text("dst-url", "url", "The service it leads to, like tcp://localhost:8080"),
  "dst-route": text("dst-route", "route", ROUTE),
  "dst-relay-encryption": list("dst-relay-encryption", "scheme,…", ENCRYPTIONS),
  "src-name": text("src-name", "name", "The name of a source to open"),
  "src-url": text("src-url", "url", "Where it listens, like tcp://:8080"),
  "src-route": text("src-route", "route", ROUTE),
  "src-relay-encryption": list("src-relay-encryption", "scheme,…", ENCRYPTIONS)
}

/** When the endpoints of lost clients are withdrawn. */
const expiryFlags = {
  "endpoint-expiry-disable": Flag.Boolean("endpoint-expiry-disable").pipe(
    Flag.withDescription("Withdraw the endpoints of a lost client at once"),
    Flag.withDefault(false)
  ),
  "endpoint-expiry-timeout": duration(
    "endpoint-expiry-timeout",
    "How long the endpoints of a lost client stay announced (default: 30s)"
  )
}

const storeFlag = text(
  "store-dir",
  "folder",
  "Where to keep what must survive a restart (default: CONNET_STATE_DIR, then STATE_DIRECTORY)"
)

const TOKENS_FILE = "A file with one token, or sha256: and its hash, on each line, and what may be done with it"
const HOSTPORT = "Where clients are told to find the relay; repeat it for more (default: localhost)"

/** The two flags of an ingress about addresses; `prefix` is empty, or ends in a hyphen. */
const cidrFlags = <const Prefix extends "" | "clients-" | "relays-" | "relay-">(prefix: Prefix, who: string) =>
  ({
    [`${prefix}allow-cidr`]: texts(
      `${prefix}allow-cidr`,
      "cidr",
      `From where only ${who} may come; repeat it for more`
    ),
    [`${prefix}deny-cidr`]: texts(`${prefix}deny-cidr`, "cidr", `From where ${who} may not come; repeat it for more`)
  }) as Record<`${Prefix}allow-cidr` | `${Prefix}deny-cidr`, Flag.Flag<ReadonlyArray<string>>>

export const serverFlags = {
  tokens: texts("tokens", "text", "A token that clients may show; repeat it for more"),
  "tokens-file": text("tokens-file", "file", TOKENS_FILE),
  addr: text("addr", "host:port", "Where clients connect to (default: :19190)"),
  "cert-file": text("cert-file", "file", "PEM certificate of the server"),
  "key-file": text("key-file", "file", "PEM private key of the certificate"),
  ...cidrFlags("", "clients"),
  ...expiryFlags,
  "relay-addr": text("relay-addr", "host:port", "Where clients reach the relay (default: :19191)"),
  "relay-hostport": texts("relay-hostport", "host:port", HOSTPORT),
  ...cidrFlags("relay-", "clients of the relay"),
  transport: text("transport", "carrier", TRANSPORT),
  "status-addr": statusFlag,
  "store-dir": storeFlag
}

export const controlFlags = {
  "cert-file": text("cert-file", "file", "PEM certificate for clients and relays"),
  "key-file": text("key-file", "file", "PEM private key of the certificate"),
  "clients-tokens": texts("clients-tokens", "text", "A token that clients may show; repeat it for more"),
  "clients-tokens-file": text("clients-tokens-file", "file", TOKENS_FILE),
  "clients-addr": text("clients-addr", "host:port", "Where clients connect to (default: :19190)"),
  "clients-cert-file": text("clients-cert-file", "file", "PEM certificate for clients (default: --cert-file)"),
  "clients-key-file": text("clients-key-file", "file", "PEM private key for clients (default: --key-file)"),
  ...cidrFlags("clients-", "clients"),
  ...expiryFlags,
  "relays-tokens": texts("relays-tokens", "text", "A token that relays may show; repeat it for more"),
  "relays-tokens-file": text("relays-tokens-file", "file", TOKENS_FILE),
  "relays-addr": text("relays-addr", "host:port", "Where relays connect to (default: :19189)"),
  "relays-cert-file": text("relays-cert-file", "file", "PEM certificate for relays (default: --cert-file)"),
  "relays-key-file": text("relays-key-file", "file", "PEM private key for relays (default: --key-file)"),
  ...cidrFlags("relays-", "relays"),
  transport: text("transport", "carrier", TRANSPORT),
  "status-addr": statusFlag,
  "store-dir": storeFlag
}

export const relayFlags = {
  token: text("token", "text", "What proves to the control server that this relay may connect"),
  "token-file": text("token-file", "file", "A file with the token in its first line"),
  metadata: text("metadata", "text", "Free text that the control server sees"),
  addr: text("addr", "host:port", "Where clients reach the relay (default: :19191)"),
  hostport: texts("hostport", "host:port", HOSTPORT),
  ...cidrFlags("", "clients"),
  "control-addr": text("control-addr", "host:port", "The control server (default: localhost:19189)"),
  "control-cas-file": text(
    "control-cas-file",
    "file",
    "PEM roots that vouch for the control server (default: the system's)"
  ),
  "control-name": text(
    "control-name",
    "name",
    "The name on the control server's certificate (default: the host of its address)"
  ),
  proxy: text("proxy", "url", PROXY),
  transport: text("transport", "carrier", TRANSPORT),
  "handshake-idle-timeout": duration("handshake-idle-timeout", "How long a handshake may take (default: 5s)"),
  "status-addr": statusFlag,
  "store-dir": storeFlag
}

type Values<Flags> = { readonly [K in keyof Flags]: Flags[K] extends Flag.Flag<infer A> ? A : never }

/** The settings that flags of the client stand for. A destination or source counts only when it has a name. */
export const clientSource = (flags: Values<typeof clientFlags>): ConfigSource => {
  const {
    "dst-name": destination,
    "dst-url": destinationUrl,
    "dst-route": destinationRoute,
    "dst-relay-encryption": destinationEncryptions,
    "src-name": source,
    "src-url": sourceUrl,
    "src-route": sourceRoute,
    "src-relay-encryption": sourceEncryptions,
    expose,
    use,
    ...rest
  } = flags
  const destinations = {
    ...urls(expose),
    ...endpoint(destination, {
      url: destinationUrl,
      route: destinationRoute,
      "relay-encryptions": destinationEncryptions
    })
  }
  const sources = {
    ...urls(use),
    ...endpoint(source, { url: sourceUrl, route: sourceRoute, "relay-encryptions": sourceEncryptions })
  }
  return commandLine({
    client: {
      ...given(rest),
      ...(Object.keys(destinations).length === 0 ? {} : { destinations }),
      ...(Object.keys(sources).length === 0 ? {} : { sources })
    }
  })
}

/** The settings that flags of the server stand for. Any flag about an ingress makes one. */
export const serverSource = (flags: Values<typeof serverFlags>): ConfigSource => {
  const {
    addr,
    "cert-file": certificate,
    "key-file": key,
    "relay-addr": relayAddr,
    "relay-hostport": relayHostports,
    "allow-cidr": allow,
    "deny-cidr": deny,
    "relay-allow-cidr": relayAllow,
    "relay-deny-cidr": relayDeny,
    ...rest
  } = flags
  return commandLine({
    server: given({
      ...rest,
      ingress: ingress({ addr, "cert-file": certificate, "key-file": key, "allow-cidrs": allow, "deny-cidrs": deny }),
      "relay-ingress": ingress({
        addr: relayAddr,
        hostports: relayHostports,
        "allow-cidrs": relayAllow,
        "deny-cidrs": relayDeny
      })
    })
  })
}

/**
 * The settings that flags of control stand for. The certificate of one side wins over the one for both, where upstream has
 * it the other way round, and `--clients-cert-file` has no effect beside `--cert-file`.
 */
export const controlSource = (flags: Values<typeof controlFlags>): ConfigSource => {
  const {
    "cert-file": certificate,
    "key-file": key,
    "clients-addr": clientsAddr,
    "clients-cert-file": clientsCertificate,
    "clients-key-file": clientsKey,
    "relays-addr": relaysAddr,
    "relays-cert-file": relaysCertificate,
    "relays-key-file": relaysKey,
    "clients-allow-cidr": clientsAllow,
    "clients-deny-cidr": clientsDeny,
    "relays-allow-cidr": relaysAllow,
    "relays-deny-cidr": relaysDeny,
    ...rest
  } = flags
  return commandLine({
    control: given({
      ...rest,
      "clients-ingress": ingress({
        addr: clientsAddr,
        "cert-file": Option.orElse(clientsCertificate, () => certificate),
        "key-file": Option.orElse(clientsKey, () => key),
        "allow-cidrs": clientsAllow,
        "deny-cidrs": clientsDeny
      }),
      "relays-ingress": ingress({
        addr: relaysAddr,
        "cert-file": Option.orElse(relaysCertificate, () => certificate),
        "key-file": Option.orElse(relaysKey, () => key),
        "allow-cidrs": relaysAllow,
        "deny-cidrs": relaysDeny
      })
    })
  })
}

/** The settings that flags of a relay stand for. Any flag about an ingress makes one. */
export const relaySource = (flags: Values<typeof relayFlags>): ConfigSource => {
  const { addr, hostport: hostports, "allow-cidr": allow, "deny-cidr": deny, ...rest } = flags
  const table = ingress({ addr, hostports, "allow-cidrs": allow, "deny-cidrs": deny })
  return commandLine({ relay: given({ ...rest, ingress: table }) })
}

/** Settings that were given on the command line, wherever a message has to say so. */
export const commandLine = (tables: ConfigTables): ConfigSource => ({ origin: "command line", tables })

/** A flag's value: it may be absent, a list, or a switch. */
type Value = Option.Option<unknown> | ReadonlyArray<unknown> | boolean

type Given<A> = { readonly [K in keyof A]?: A[K] extends Option.Option<infer B> ? B : A[K] }

/** What was given: no absent values, empty lists, or switches that are off. */
const given = <A extends Readonly<Record<string, Value>>>(flags: A): Given<A> =>
  Object.fromEntries(
    Object.entries(flags).flatMap(([name, value]) => {
      if (Option.isOption(value)) return Option.isSome(value) ? [[name, value.value]] : []
      return value === false || (Array.isArray(value) && value.length === 0) ? [] : [[name, value]]
    })
  ) as Given<A>

const endpoint = <A extends Readonly<Record<string, Value>>>(name: Option.Option<string>, fields: A) =>
  Option.isNone(name) || name.value === "" ? {} : { [name.value]: given(fields) }

const urls = (pairs: ReadonlyArray<readonly [string, string]>) =>
  Object.fromEntries(pairs.map(([name, url]) => [name, { url }]))

/** One ingress, if anything is known about it. */
const ingress = <A extends Readonly<Record<string, Value>>>(fields: A): ReadonlyArray<Given<A>> => {
  const table = given(fields)
  return Object.keys(table).length === 0 ? [] : [table]
}
