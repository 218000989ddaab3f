/**
 * What the demo plays with: a temporary folder with a certificate made for it, a token, the three configuration files of
 * the README's quick start, and a file to download. It is gone with its Scope.
 */
import { createHash, randomBytes } from "node:crypto"
import { mkdtemp, open, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Redacted } from "effect"
import { makeAuthority } from "../../certs/Authority.ts"
import type { Route } from "../../domain/Route.ts"
import * as Network from "../../transport/Network.ts"
import { Transport } from "../../transport/Transport.ts"

export interface Stage {
  /** The configuration files of the three roles. */
  readonly files: { readonly server: string; readonly destination: string; readonly source: string }
  /** Where the source listens. */
  readonly sourcePort: number
  /** The file to download. */
  readonly download: { readonly path: string; readonly bytes: number; readonly sha256: string }
}

/** The name that destination and source of the demo have in common. */
export const ENDPOINT = "web"

/** Sets everything up; the destination leads to `sitePort` on this machine, which serves `download`. */
export const makeStage = Effect.fnUntraced(function* (options: {
  readonly folder: string
  readonly download: Stage["download"]
  readonly sitePort: number
  readonly route: Route
}) {
  const { route } = options
  const path = (name: string) => join(options.folder, name)
  const save = (name: string, text: string) => Effect.promise(() => writeFile(path(name), text, { mode: 0o600 }))
  const authority = yield* makeAuthority()
  const identity = yield* authority.issueServer(["localhost", "127.0.0.1"])
  const token = randomBytes(24).toString("base64url")
  const [serverPort, relayPort, sourcePort] = [yield* freePort, yield* freePort, yield* freePort]

  yield* save("ca.crt", authority.certificatePem)
  yield* save("server.crt", identity.certificatePem)
  yield* save("server.key", Redacted.value(identity.privateKeyPem))
  yield* save("token", `${token}\n`)
  yield* save(
    "server.toml",
    toml("server", { "tokens-file": path("token") }) +
      toml("[server.ingress]", {
        addr: `127.0.0.1:${serverPort}`,
        "cert-file": path("server.crt"),
        "key-file": path("server.key")
      }) +
      toml("[server.relay-ingress]", { addr: `127.0.0.1:${relayPort}` })
  )
  const client = toml("client", {
    "token-file": path("token"),
    "server-addr": `127.0.0.1:${serverPort}`,
    "server-cas-file": path("ca.crt"),
    "direct-addr": ":0",
    "nat-pmp": "disabled"
  })
  const destination = { url: `tcp://127.0.0.1:${options.sitePort}`, route }
  yield* save("destination.toml", client + toml(`client.destinations.${ENDPOINT}`, destination))
  yield* save(
    "source.toml",
    client + toml(`client.sources.${ENDPOINT}`, { url: `tcp://127.0.0.1:${sourcePort}`, route })
  )
  return {
    files: { server: path("server.toml"), destination: path("destination.toml"), source: path("source.toml") },
    sourcePort,
    download: options.download
  } satisfies Stage
})

/** An empty folder that only this user can look into. */
export const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "connet-demo-"))),
  (folder) => Effect.promise(() => rm(folder, { recursive: true, force: true }))
)

/** A file of random bytes in the folder, with its hash. */
export const makeDownload = (folder: string, mebibytes: number): Effect.Effect<Stage["download"]> =>
  Effect.promise(async (signal) => {
    const path = join(folder, "download.bin")
    const file = await open(path, "w", 0o600)
    const hash = createHash("sha256")
    try {
      for (let index = 0; index < mebibytes && !signal.aborted; index++) {
        const chunk = randomBytes(MEBIBYTE)
        hash.update(chunk)
        await file.write(chunk)
      }
    } finally {
      await file.close()
    }
    return { path, bytes: mebibytes * MEBIBYTE, sha256: hash.digest("hex") }
  })

export const MEBIBYTE = 1_048_576

/** A table of TOML. JSON strings are TOML basic strings. */
const toml = (name: string, values: Readonly<Record<string, string>>) =>
  `[${name}]\n${Object.entries(values)
    .map(([key, value]) => `${key} = ${JSON.stringify(value)}\n`)
    .join("")}\n`

/** A port that was free a moment ago, for UDP and for TCP. */
const freePort = Effect.flatMap(Transport, ({ bind }) => bind({ address: { host: "127.0.0.1", port: 0 } })).pipe(
  Effect.map(({ address }) => address.port),
  Effect.scoped,
  Effect.provide(Network.layer())
)
