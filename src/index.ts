/**
 * connet as a library: each role is a Layer or an Effect, the network is the service `Transport` that a program provides.
 *
 * - `ControlServer`, `Client`: the roles, as the command line runs them.
 * - `Quic`, `Memory`: the layers of `Transport`.
 * - `Directory`, `Peers`: the parts of a client, for programs that carry their own streams.
 * - `Certs`: certificates, issued or loaded.
 */
export * as Certs from "./certs/index.ts"
export * as Directory from "./directory/client/Directory.ts"
export * as DirectoryError from "./directory/DirectoryError.ts"
export { ControlServer, type ControlServerOptions, type Ingress } from "./directory/server/ControlServer.ts"
export { EndpointName } from "./domain/EndpointName.ts"
export { Role } from "./domain/Role.ts"
export { Route } from "./domain/Route.ts"
export * as SocketAddress from "./domain/SocketAddress.ts"
export { Client, type ClientEndpoint, type ClientOptions } from "./endpoint/Client.ts"
export * as EndpointError from "./endpoint/EndpointError.ts"
export * as PeerError from "./peer/PeerError.ts"
export * as Peers from "./peer/Peers.ts"
export * as Memory from "./transport/memory/Memory.ts"
export * as Quic from "./transport/quic/Quic.ts"
export * as Transport from "./transport/Transport.ts"
export * as TransportError from "./transport/TransportError.ts"
export { Trust } from "./transport/Trust.ts"
