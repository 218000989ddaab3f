/**
 * What stands at the outer end of an endpoint, as its `url` says it: the service of a destination, or what a source offers to
 * its users. Values that were checked where they were read; nothing is resolved, opened or dialed yet.
 */
import * as SocketAddress from "./SocketAddress.ts"

/** TCP, as it is or with TLS around it. */
export interface SocketUrl {
  readonly _tag: "tcp" | "tls"
  /** A DNS name or an IP address without brackets; empty only where it is listened on: every address. */
  readonly host: string
  /** 0 only where it is listened on: the system chooses. */
  readonly port: number
}

/** A Unix domain socket. */
export interface UnixUrl {
  readonly _tag: "unix"
  /** As it was written; relative paths start at the working directory of the process. */
  readonly path: string
}

/** An HTTP server: the one to pass requests to, or the one that a source is. */
export interface HttpUrl {
  readonly _tag: "http" | "https"
  readonly host: string
  /** That of the scheme, where none was written. */
  readonly port: number
  /** Host and port as they were written, which is what a Host header says: `example.org`, `[::1]:8080`. */
  readonly authority: string
  /** What comes before the path of every request, as it goes into a request line: empty, or with a leading slash. */
  readonly basePath: string
  /** What is added to the query of every request, without its question mark. */
  readonly query: string
}

/** A WebSocket server whose messages are the bytes of a stream. */
export interface WebSocketUrl {
  readonly _tag: "ws" | "wss"
  readonly host: string
  readonly port: number
  readonly authority: string
  /** The path to ask for, or with a slash at its end everything below it; empty: any. */
  readonly path: string
}

/** The files of a folder. */
export interface FileUrl {
  readonly _tag: "file"
  /** As it was written; relative paths start at the working directory of the process. */
  readonly root: string
}

/** What a destination leads to. */
export type DestinationUrl = SocketUrl | UnixUrl | HttpUrl | FileUrl

/** What a source offers. */
export type SourceUrl = SocketUrl | UnixUrl | HttpUrl | WebSocketUrl

export type EndpointUrl = DestinationUrl | SourceUrl

/** Schemes that bring TLS with them, at which certificates can be set. */
export const isSecure = ({ _tag }: EndpointUrl): boolean => _tag === "tls" || _tag === "https" || _tag === "wss"

/** The URL as people write it. */
export const format = (url: EndpointUrl): string => {
  switch (url._tag) {
    case "tcp":
    case "tls":
      return `${url._tag}://${SocketAddress.format(url)}`
    case "unix":
      return `unix:${url.path}`
    case "http":
    case "https":
      return `${url._tag}://${url.authority}${url.basePath}${url.query === "" ? "" : `?${url.query}`}`
    case "ws":
    case "wss":
      return `${url._tag}://${url.authority}${url.path}`
    case "file":
      return `file:${url.root}`
  }
}
