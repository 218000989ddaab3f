/**
 * The end-to-end encryption of one endpoint's relayed streams: the source says what it allows, the destination chooses the
 * best that both do, and each knows the other by the certificates that control told.
 */
import type { Duplex } from "node:stream"
import { Clock, Duration, Effect, Redacted } from "effect"
import { certificateKey } from "../../certs/certificateKey.ts"
import type { Identity } from "../../certs/Identity.ts"
import type { Encryption } from "../../domain/Encryption.ts"
import type { RemotePeer } from "../../protocol/ClientControl.ts"
import type { ConnectRequest, ConnectResponse } from "../../protocol/Connect.ts"
import { dnsNames } from "../../transport/Trust.ts"
import * as Dhxcp from "./Dhxcp.ts"
import { dhxcpStream } from "./dhxcpStream.ts"
import { EncryptionError, HandshakeFailed, NotBelieved, NothingInCommon, NotOffered } from "./EncryptionError.ts"
import { strongest } from "./negotiate.ts"
import { tlsClient, tlsServer } from "./tlsStream.ts"

type Connect = Extract<ConnectRequest, { _tag: "Connect" }>
type Connected = Extract<ConnectResponse, { _tag: "Connected" }>

/** Makes the secured stream of a relayed one. The stream itself stays the caller's. */
export type Secure<A extends ReadonlyArray<unknown>> = (
  stream: Duplex,
  ...rest: A
) => Effect.Effect<Duplex, EncryptionError>

export interface RelayEncryption {
  /** As the source: what goes into the connect request, and how its answer is used. */
  readonly offer: Effect.Effect<{
    readonly request: Pick<Connect, "encryptions" | "tls" | "dhxcp">
    readonly secure: Secure<[answer: Connected]>
  }>
  /** As the destination: what goes into the answer, after which the stream is secured. */
  readonly answer: (request: Connect) => Effect.Effect<
    {
      readonly response: Pick<Connected, "encryption" | "tls" | "dhxcp">
      readonly secure: Secure<[]>
    },
    EncryptionError
  >
}

export interface RelayEncryptionOptions {
  /** What this end allows; at least one. */
  readonly encryptions: ReadonlyArray<Encryption>
  /** What other ends know us by. */
  readonly serverIdentity: Identity
  readonly clientIdentity: Identity
  /** Who is at the other side of the endpoint, as control tells it. */
  readonly peers: () => ReadonlyArray<RemotePeer>
}

/** A thousand handshakes that begin at once take a small machine some seconds. */
const HANDSHAKE_DEADLINE = Duration.seconds(15)

const fail = (detail: string) => Effect.fail(new EncryptionError({ reason: new NotBelieved({ detail }) }))

export const makeRelayEncryption = (options: RelayEncryptionOptions): RelayEncryption => {
  const { encryptions, serverIdentity, clientIdentity, peers } = options
  const clientName = dnsNames(serverIdentity.leaf)[0]!

  const peerNamed = Effect.fnUntraced(function* (name: string | undefined) {
    if (name === undefined) return yield* fail("it does not say who it is")
    // A client that has come back may be listed twice for a while, with the same certificates.
    const unique = new Map(peers().map(({ peer }) => [certificateKey(peer.serverCertificate), peer]))
    const all = [...unique.values()]
    const certificate = yield* Effect.fromResult(
      Dhxcp.certificateOf(
        name,
        all.map(({ serverCertificate }) => serverCertificate)
      )
    )
    return all.find(({ serverCertificate }) => serverCertificate === certificate)!
  })

  const ownKey = Effect.map(Clock.currentTimeMillis, (now) =>
    Dhxcp.makeOwnKey({
      clientName,
      signingKeyPem: Redacted.value(serverIdentity.privateKeyPem),
      nowNanos: Dhxcp.nanos(now)
    })
  )

  const agreed = Effect.fnUntraced(function* (
    own: Dhxcp.OwnKey,
    theirs: Dhxcp.Configuration | undefined,
    side: "source" | "destination"
  ) {
    const peer = yield* peerNamed(theirs?.clientName)
    const now = Dhxcp.nanos(yield* Clock.currentTimeMillis)
    const key = yield* Effect.fromResult(Dhxcp.checkConfiguration(theirs!, peer.serverCertificate, now))
    const { sourceToDestination, destinationToSource } = yield* Effect.fromResult(Dhxcp.streamKeys(own, key, side))
    const [send, receive] =
      side === "source" ? [sourceToDestination, destinationToSource] : [destinationToSource, sourceToDestination]
    return { send, receive, endRecord: peer.dhxcpEndRecord === true }
  })

  const offer = Effect.gen(function* () {
    const key = encryptions.includes("dhxcp") ? yield* ownKey : undefined
    const request = {
      encryptions,
      ...(encryptions.includes("tls") && { tls: { clientName } }),
      ...(key !== undefined && { dhxcp: key.configuration })
    }
    const secure = Effect.fnUntraced(function* (stream: Duplex, answer: Connected) {
      const { encryption: chosen } = answer
      if (!encryptions.includes(chosen)) {
        return yield* new EncryptionError({ reason: new NotOffered({ chosen, offered: encryptions }) })
      }
      switch (chosen) {
        case "none":
          return stream
        case "dhxcp":
          return dhxcpStream(stream, yield* agreed(key!, answer.dhxcp, "source"))
        case "tls": {
          const { serverCertificate } = yield* peerNamed(answer.tls?.clientName)
          return yield* handshake(tlsClient, stream, { identity: clientIdentity, expected: serverCertificate })
        }
      }
    })
    return { request, secure }
  })

  const answer = Effect.fnUntraced(function* (request: Connect) {
    const chosen = strongest(request.encryptions, encryptions)
    switch (chosen) {
      case undefined: {
        const source = request.encryptions.length === 0 ? (["none"] as const) : request.encryptions
        return yield* new EncryptionError({ reason: new NothingInCommon({ source, destination: encryptions }) })
      }
      case "none":
        return { response: { encryption: chosen }, secure: (stream: Duplex) => Effect.succeed(stream) }
      case "dhxcp": {
        const key = yield* ownKey
        const keys = yield* agreed(key, request.dhxcp, "destination")
        return {
          response: { encryption: chosen, dhxcp: key.configuration },
          secure: (stream: Duplex) => Effect.succeed(dhxcpStream(stream, keys))
        }
      }
      case "tls": {
        const { clientCertificate } = yield* peerNamed(request.tls?.clientName)
        return {
          response: { encryption: chosen, tls: { clientName } },
          secure: (stream: Duplex) =>
            handshake(tlsServer, stream, { identity: serverIdentity, expected: clientCertificate })
        }
      }
    }
  })

  return { offer, answer }
}

const handshake = (
  begin: typeof tlsClient | typeof tlsServer,
  stream: Duplex,
  options: Parameters<typeof tlsClient>[1]
): Effect.Effect<Duplex, EncryptionError> => {
  const failed = (detail: string) => Effect.fail(new EncryptionError({ reason: new HandshakeFailed({ detail }) }))
  return Effect.callback<Duplex, EncryptionError>((resume) => {
    const giveUp = begin(stream, options, (result) =>
      resume(result instanceof Error ? failed(result.message) : Effect.succeed(result))
    )
    return Effect.sync(giveUp)
  }).pipe(Effect.timeoutOrElse({ duration: HANDSHAKE_DEADLINE, orElse: () => failed("no answer in 15 s") }))
}
