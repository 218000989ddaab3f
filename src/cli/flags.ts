/**
 * The flags of the commands, with upstream's names, and the settings they stand for. They are folded after all files.
 */
import { Option } from "effect"
import { Flag, GlobalFlag } from "effect/cli"
import type { ConfigSource, ConfigTables } from "../config/ConfigTables.ts"
import { GoDuration } from "../config/ConfigTables.ts"
import { LogFormat, LogVerbosity } from "../config/LogConfig.ts"

const text = (name: string, metavar: string, description: string) =>
  Flag.String(name).pipe(Flag.withMetavar(metavar), Flag.withDescription(description), Flag.optional)

const duration = (name: string, description: string) =>
  Flag.String(name).pipe(
    Flag.withSchema(GoDuration),
    Flag.withMetavar("duration"),
    Flag.withDescription(description),
    Flag.optional
  )

/** `--config`, of every command. */
export const ConfigFlag = GlobalFlag.Setting("config")({
  flag: Flag.String("config").pipe(
    Flag.withMetavar("file"),
    Flag.withDescription("A TOML file with settings; repeat it to fold several, the last one wins"),
    Flag.atLeast(0)
  )
})

/** `--log-level`, of every command. */
export const LogLevelFlag = GlobalFlag.Setting("log-level")({
  flag: Flag.Literals("log-level", LogVerbosity.literals).pipe(
    Flag.withDescription("What to log (default: info)"),
    Flag.optional
  )
})

/** `--log-format`, of every command. */
export const LogFormatFlag = GlobalFlag.Setting("log-format")({
  flag: Flag.Literals("log-format", LogFormat.literals).pipe(
    Flag.withDescription("How to log it (default: text)"),
    Flag.optional
  )
})

export const clientFlags = {
  token: text("token", "text", "What proves to the server that this client may connect"),
  "token-file": text("token-file", "file", "A file with the token in its first line"),
  metadata: text("metadata", "text", "Free text that peers and the server see"),
  "server-addr": text("server-addr", "host:port", "The server (default: 127.0.0.1:19190)"),
  "server-cas-file": text("server-cas-file", "file", "PEM roots that vouch for the server (default: the system's)"),
  "server-name": text("server-name", "name", "The name on the server's certificate (default: the host of the server)"),
  "direct-addr": text("direct-addr", "host:port", "Where this client is reached directly, UDP (default: :19192)"),
  "handshake-idle-timeout": duration("handshake-idle-timeout", "How long a handshake may take (default: 5s)"),
  "dst-name": text("dst-name", "name", "The name of a destination to offer"),
  "dst-url": text("dst-url", "url", "The service it leads to, like tcp://localhost:8080"),
  "dst-route": text("dst-route", "route", "Which paths it may use: any or direct (default: any)"),
  "src-name": text("src-name", "name", "The name of a source to open"),
  "src-url": text("src-url", "url", "Where it listens, like tcp://:8080"),
  "src-route": text("src-route", "route", "Which paths it may use: any or direct (default: any)")
}

export const serverFlags = {
  tokens: Flag.String("tokens").pipe(
    Flag.withMetavar("text"),
    Flag.withDescription("A token that clients may show; repeat it for more"),
    Flag.atLeast(0)
  ),
  "tokens-file": text("tokens-file", "file", "A file with one token, or sha256: and its hash, on each line"),
  addr: text("addr", "host:port", "Where clients connect to, UDP (default: :19190)"),
  "cert-file": text("cert-file", "file", "PEM certificate of the server"),
  "key-file": text("key-file", "file", "PEM private key of the certificate"),
  "endpoint-expiry-disable": Flag.Boolean("endpoint-expiry-disable").pipe(
    Flag.withDescription("Withdraw the endpoints of a lost client at once"),
    Flag.withDefault(false)
  ),
  "endpoint-expiry-timeout": duration(
    "endpoint-expiry-timeout",
    "How long the endpoints of a lost client stay announced (default: 30s)"
  )
}

type Values<Flags> = { readonly [K in keyof Flags]: Flags[K] extends Flag.Flag<infer A> ? A : never }

/** The settings that flags of the client stand for. A destination or source counts only when it has a name. */
export const clientSource = (flags: Values<typeof clientFlags>): ConfigSource => {
  const {
    "dst-name": destination,
    "dst-url": destinationUrl,
    "dst-route": destinationRoute,
    "src-name": source,
    "src-url": sourceUrl,
    "src-route": sourceRoute,
    ...rest
  } = flags
  return commandLine({
    client: {
      ...given(rest),
      ...endpoint("destinations", destination, { url: destinationUrl, route: destinationRoute }),
      ...endpoint("sources", source, { url: sourceUrl, route: sourceRoute })
    }
  })
}

/** The settings that flags of the server stand for. Any flag about an ingress makes one. */
export const serverSource = (flags: Values<typeof serverFlags>): ConfigSource => {
  const ingress = given({ addr: flags.addr, "cert-file": flags["cert-file"], "key-file": flags["key-file"] })
  return commandLine({
    server: {
      tokens: flags.tokens,
      ...given({
        "tokens-file": flags["tokens-file"],
        "endpoint-expiry-timeout": flags["endpoint-expiry-timeout"]
      }),
      "endpoint-expiry-disable": flags["endpoint-expiry-disable"],
      ...(Object.keys(ingress).length === 0 ? {} : { ingress: [ingress] })
    }
  })
}

/** Settings that were given on the command line, wherever a message has to say so. */
export const commandLine = (tables: ConfigTables): ConfigSource => ({ origin: "command line", tables })

type Given<A> = { readonly [K in keyof A]?: A[K] extends Option.Option<infer B> ? B : never }

const given = <A extends Readonly<Record<string, Option.Option<unknown>>>>(flags: A): Given<A> =>
  Object.fromEntries(
    Object.entries(flags).flatMap(([name, value]) => (Option.isSome(value) ? [[name, value.value]] : []))
  ) as Given<A>

const endpoint = (
  kind: "destinations" | "sources",
  name: Option.Option<string>,
  fields: { readonly url: Option.Option<string>; readonly route: Option.Option<string> }
) => (Option.isNone(name) || name.value === "" ? {} : { [kind]: { [name.value]: given(fields) } })
