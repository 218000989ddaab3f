/**
 * A client of connet whose direct links go where the bench wants: `client.ts <JSON>` with the control server, its root,
 * the role, the TCP port, and `link`: a source dials that port instead of its peers, a destination dials nobody.
 */
import { readFileSync } from "node:fs"
import { Duration, Effect, Layer, Logger, Redacted } from "effect"
import { NO_BALANCING } from "../../src/domain/Balancing.ts"
import type { EndpointName } from "../../src/domain/EndpointName.ts"
import { Client, type ClientEndpoint } from "../../src/endpoint/Client.ts"
import { Alpn } from "../../src/protocol/Alpn.ts"
import * as Quic from "../../src/transport/quic/Quic.ts"
import { type DialTarget, type Endpoint, Transport } from "../../src/transport/Transport.ts"
import { Trust } from "../../src/transport/Trust.ts"

export interface ClientRole {
  readonly role: "destination" | "source"
  readonly server: number
  readonly rootFile: string
  readonly direct: number
  readonly port: number
  readonly link?: number
}

const options: ClientRole = JSON.parse(process.argv[2]!)

const redirected = (endpoint: Endpoint): Endpoint => ({
  ...endpoint,
  dial: (target: DialTarget) => {
    if (!target.protocols.includes(Alpn.direct[0])) return endpoint.dial(target)
    return options.link === undefined
      ? Effect.never
      : endpoint.dial({ ...target, address: { host: "127.0.0.1", port: options.link } })
  }
})

const layerTransport = Layer.effect(
  Transport,
  Effect.map(Transport, ({ bind }) =>
    Transport.of({ bind: (bindOptions) => Effect.map(bind(bindOptions), redirected) })
  )
).pipe(Layer.provide(Quic.layer()))

const endpoint: ClientEndpoint = {
  route: "direct",
  transport: "auto",
  dialTimeout: undefined,
  relayEncryptions: ["tls"]
}
const name = "bench" as EndpointName
const local = { _tag: "tcp", host: "127.0.0.1", port: options.port } as const
const destination = { ...endpoint, service: local, proxyHeader: "none" } as const
const source = { ...endpoint, listen: local, balancing: NO_BALANCING }

await Effect.runPromise(
  Client.run({
    server: { host: "127.0.0.1", port: options.server },
    trust: Trust.authorities("127.0.0.1", [readFileSync(options.rootFile, "utf8")]),
    token: Redacted.make("bench"),
    metadata: "",
    buildVersion: "bench",
    directAddress: { host: "127.0.0.1", port: options.direct },
    handshakeTimeout: Duration.seconds(5),
    destinations: options.role === "destination" ? new Map([[name, destination]]) : new Map(),
    sources: options.role === "source" ? new Map([[name, source]]) : new Map()
  }).pipe(Effect.provide([layerTransport, Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])]))
)
