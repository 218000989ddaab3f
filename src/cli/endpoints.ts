/** The endpoints of a client with their certificates loaded, so that whatever is wrong with a file is said at the start. */
import { Effect } from "effect"
import { loadAuthorities, loadIdentity } from "../certs/load.ts"
import type { CertificateFiles, DestinationConfig, SourceConfig } from "../config/EndpointConfig.ts"
import type { EndpointName } from "../domain/EndpointName.ts"
import type { ClientDestination, ClientSource } from "../endpoint/Client.ts"
import type { Service } from "../endpoint/destination/dialService.ts"
import type { Listen } from "../endpoint/source/listenUsers.ts"

/** Destinations as the client runs them. */
export const destinations = (configs: ReadonlyMap<EndpointName, DestinationConfig>) =>
  each(
    configs,
    Effect.fnUntraced(function* ({ url, trust, certificate, ...config }: DestinationConfig) {
      const service: Service =
        url._tag === "tls"
          ? {
              ...url,
              _tag: "tls",
              trust:
                typeof trust === "string"
                  ? trust === "anyone"
                    ? trust
                    : undefined
                  : yield* loadAuthorities(trust.file),
              identity: yield* identityOf(certificate)
            }
          : url._tag === "unix"
            ? url
            : { ...url, _tag: "tcp" }
      return { ...config, service } satisfies ClientDestination
    })
  )

/** Sources as the client runs them. */
export const sources = (configs: ReadonlyMap<EndpointName, SourceConfig>) =>
  each(
    configs,
    Effect.fnUntraced(function* ({ url, authoritiesFile, certificate, ...config }: SourceConfig) {
      const identity = yield* identityOf(certificate)
      const listen: Listen =
        url._tag === "tls" && identity !== undefined
          ? {
              ...url,
              _tag: "tls",
              identity,
              authorities: authoritiesFile === undefined ? undefined : yield* loadAuthorities(authoritiesFile)
            }
          : url._tag === "unix"
            ? url
            : { ...url, _tag: "tcp" }
      return { ...config, listen } satisfies ClientSource
    })
  )

const identityOf = (files: CertificateFiles | undefined) =>
  files === undefined ? Effect.undefined : loadIdentity(files.certificateFile, files.keyFile)

const each = <A, B, E, R>(configs: ReadonlyMap<EndpointName, A>, load: (config: A) => Effect.Effect<B, E, R>) =>
  Effect.map(
    Effect.forEach(configs, ([name, config]) => Effect.map(load(config), (loaded) => [name, loaded] as const)),
    (entries): ReadonlyMap<EndpointName, B> => new Map(entries)
  )
