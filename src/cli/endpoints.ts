/** The endpoints of a client with their certificates loaded, so that whatever is wrong with a file is said at the start. */
import { Effect } from "effect"
import { loadAuthorities, loadIdentity } from "../certs/load.ts"
import type { CertificateFiles, DestinationConfig, SourceConfig } from "../config/EndpointConfig.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import { isSecure } from "../domain/EndpointUrl.ts"
import type { ClientDestination, ClientSource, Offer, WebService } from "../endpoint/Client.ts"
import type { Service } from "../endpoint/destination/dialService.ts"
import type { Listen } from "../endpoint/source/listenUsers.ts"

/** Destinations as the client runs them. */
export const destinations = (configs: ReadonlyMap<EndpointName, DestinationConfig>) =>
  each(
    configs,
    Effect.fnUntraced(function* (config: DestinationConfig) {
      const { route, transport, relayEncryptions, dialTimeout, proxyHeader, health, earlyData } = config
      const service = yield* serviceOf(config)
      const common = { route, transport, relayEncryptions, dialTimeout, proxyHeader }
      return { ...common, health, earlyData, service } satisfies ClientDestination
    })
  )

const serviceOf = Effect.fnUntraced(function* (config: DestinationConfig) {
  const { url, trust, certificate, preserveHost, listings, dotFiles } = config
  if (url._tag === "file") return { _tag: "file", root: url.root, listings, dotFiles } satisfies WebService
  if (url._tag === "unix") return url satisfies Service
  const tls = isSecure(url)
    ? {
        trust: trust === "anyone" ? trust : trust === "system" ? undefined : yield* loadAuthorities(trust.file),
        identity: yield* identityOf(certificate)
      }
    : undefined
  if (url._tag === "http" || url._tag === "https") return { _tag: "http", url, tls, preserveHost } satisfies WebService
  const { host, port } = url
  return (tls === undefined ? { _tag: "tcp", host, port } : { _tag: "tls", host, port, ...tls }) satisfies Service
})

/** Sources as the client runs them. */
export const sources = (configs: ReadonlyMap<EndpointName, SourceConfig>) =>
  each(
    configs,
    Effect.fnUntraced(function* (config: SourceConfig) {
      const { route, transport, relayEncryptions, dialTimeout, balancing } = config
      const [listen, offer] = [yield* listenOf(config), offerOf(config)]
      return { route, transport, relayEncryptions, dialTimeout, balancing, listen, offer } satisfies ClientSource
    })
  )

const listenOf = Effect.fnUntraced(function* ({ url, authoritiesFile, certificate }: SourceConfig) {
  if (url._tag === "unix") return url satisfies Listen
  const { host, port } = url
  const identity = yield* identityOf(certificate)
  if (!isSecure(url) || identity === undefined) return { _tag: "tcp", host, port } satisfies Listen
  const authorities = authoritiesFile === undefined ? undefined : yield* loadAuthorities(authoritiesFile)
  return { _tag: "tls", host, port, identity, authorities } satisfies Listen
})

const offerOf = ({ url, preserveHost }: SourceConfig): Offer | undefined => {
  switch (url._tag) {
    case "http":
    case "https":
      return { _tag: "http", basePath: url.basePath, preserveHost }
    case "ws":
    case "wss":
      return { _tag: "webSocket", path: url.path }
    default:
      return undefined
  }
}

const identityOf = (files: CertificateFiles | undefined) =>
  files === undefined ? Effect.undefined : loadIdentity(files.certificateFile, files.keyFile)

const each = <A, B, E, R>(configs: ReadonlyMap<EndpointName, A>, load: (config: A) => Effect.Effect<B, E, R>) =>
  Effect.map(
    Effect.forEach(configs, ([name, config]) => Effect.map(load(config), (loaded) => [name, loaded] as const)),
    (entries): ReadonlyMap<EndpointName, B> => new Map(entries)
  )
