/** A user of a source: the bytes of his connection, and what is known of where it comes from. */
import type { Duplex } from "node:stream"

/** One end of a user's connection. `unknown`: whatever the system did not tell. */
export type UserAddress =
  | { readonly _tag: "tcp" | "udp"; readonly host: string; readonly port: number }
  /** An empty path is a socket without name, as those that connect have. */
  | { readonly _tag: "unix"; readonly path: string }
  | { readonly _tag: "unknown" }

/** What TLS told of a user who came over it. */
export interface TlsFacts {
  /** As OpenSSL calls it: `TLSv1.3`. */
  readonly version: string
  /** As OpenSSL calls it. */
  readonly cipher: string
  /** The name of the server that the user asked for (SNI). */
  readonly serverName: string | undefined
  /** The protocol that was agreed on (ALPN). */
  readonly protocol: string | undefined
  /** Whose certificate the user showed, if he did. */
  readonly certificate:
    | {
        /** Undefined where the certificate has none. */
        readonly commonName: string | undefined
        /** Shown on this connection, or on an earlier one of a resumed session. */
        readonly shown: "connection" | "session"
        readonly verified: boolean
      }
    | undefined
}

/** Where a user comes from, and over what. */
export interface UserFacts {
  readonly source: UserAddress
  /** The end of ours that he reached. */
  readonly destination: UserAddress
  readonly tls: TlsFacts | undefined
}

/** A user who has come. */
export interface User {
  readonly stream: Duplex
  readonly facts: UserFacts
}
