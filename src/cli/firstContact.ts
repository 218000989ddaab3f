/**
 * What a server has without any settings: a certificate and a token of its own, kept in its folder, and a link that holds all
 * a client needs.
 */
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import { Effect, Redacted, Schema } from "effect"
import { ownIdentity } from "../certs/ownIdentity.ts"
import type { HostPort } from "../config/HostPort.ts"
import { kept } from "../directory/server/kept.ts"
import type { SocketAddress } from "../domain/SocketAddress.ts"
import { makeToken } from "./token.ts"

/** The certificate that the server made for itself, now or earlier. */
export const ownIdentityIn = (folder: string) => ownIdentity(join(folder, "identity.json"))

const Kept = Schema.Struct({ token: Schema.NonEmptyString })

/** The token that the server made for its clients, now or earlier. */
export const ownTokenIn = (folder: string) =>
  Effect.map(
    kept(join(folder, "token.json"), Kept, () => ({ token: makeToken() })),
    ({ token }) => Redacted.make(token, { label: "token" })
  )

/**
 * Where clients probably find a server that listens at an address: under the name that its relay is told by, at the address
 * itself, or at the first one of this machine that others can reach.
 */
export const reachableAt = (bound: SocketAddress, advertised: ReadonlyArray<HostPort>): SocketAddress => {
  const named = advertised.find(({ host }) => host !== "localhost")?.host
  const host = named ?? (ANY.has(bound.host) ? ownAddress() : bound.host)
  return { host, port: bound.port }
}

const ANY = new Set(["::", "0.0.0.0"])

const ownAddress = (): string => {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const outside = addresses.filter(({ internal, address }) => !internal && !address.startsWith("fe80:"))
  return (outside.find(({ family }) => family === "IPv4") ?? outside[0])?.address ?? "localhost"
}
