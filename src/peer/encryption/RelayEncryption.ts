/**
 * The end-to-end encryption of one endpoint's relayed streams: the source says what it allows, the destination chooses the
 * best that both do, and each knows the other by the certificates that control told.
 */
import { randomBytes } from "node:crypto"
import type { Duplex } from "node:stream"
import type { TLSSocket } from "node:tls"
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
import { Sessions, sessionKeys, sessionOf } from "./Sessions.ts"
import { tlsClient, tlsServer } from "./tlsStream.ts"

type Connect = Extract<ConnectRequest, { _tag: "Connect" }>
type Connected = Extract<ConnectResponse, { _tag: "Connected" }>

/** Makes the secured stream of a relayed one. The stream itself stays the caller's. */
export type Secure<A extends ReadonlyArray<unknown>> = (
  stream: Duplex,
  ...rest: A
) => Effect.Effect<Duplex, EncryptionError>

export interface RelayEncryption {
  /**
   * As the source, to a destination by the key of its certificate: what goes into the connect request, and how its answer is
   * used. With a session of an earlier stream there is no handshake.
   */
  readonly offer: (destinationKey: string) => Effect.Effect<{
    readonly request: Pick<Connect, "encryptions" | "tls" | "dhxcp" | "session">
    readonly secure: Secure<[answer: Connected]>
    /** To be called when the destination refuses it: true when it may take another offer, without a session. */
    readonly forgotten: () => boolean
  }>
  /** As the destination: what goes into the answer, after which the stream is secured. */
  readonly answer: (request: Connect) => Effect.Effect<
    {
      readonly response: Pick<Connected, "encryption" | "tls" | "dhxcp" | "sessionNonce">
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

const NONCE_BYTES = 32

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
    side: Dhxcp.Side
  ) {
    const peer = yield* peerNamed(theirs?.clientName)
    const now = Dhxcp.nanos(yield* Clock.currentTimeMillis)
    const key = yield* Effect.fromResult(Dhxcp.checkConfiguration(theirs!, peer.serverCertificate, now))
    const keys = yield* Effect.fromResult(Dhxcp.streamKeys(own, key, side))
    return { ...Dhxcp.directions(keys, side), endRecord: peer.dhxcpEndRecord === true }
  })

  /** By the key of the destination's client certificate. */
  const offered = new Sessions()
  /** By their own names. */
  const taken = new Sessions()

  const offer = Effect.fnUntraced(function* (destinationKey: string) {
    const session = offered.find(destinationKey, yield* Clock.currentTimeMillis)
    const nonce = randomBytes(NONCE_BYTES)
    // Whoever has a session has chosen `tls`: the key of `dhxcp` would be made in vain.
    const key = session === undefined && encryptions.includes("dhxcp") ? yield* ownKey : undefined
    const request = {
      encryptions: session === undefined ? encryptions : encryptions.filter((scheme) => scheme !== "dhxcp"),
      ...(session !== undefined && { session: { id: session.id, nonce } }),
      ...(encryptions.includes("tls") && { tls: { clientName } }),
      ...(key !== undefined && { dhxcp: key.configuration })
    }
    const secure = Effect.fnUntraced(function* (stream: Duplex, answer: Connected) {
      const { encryption: chosen, sessionNonce } = answer
      if (!request.encryptions.includes(chosen)) {
        return yield* new EncryptionError({ reason: new NotOffered({ chosen, offered: request.encryptions }) })
      }
      if (sessionNonce !== undefined) {
        if (session === undefined || chosen !== "tls") return yield* fail("it uses a session that was not offered")
        return sessionStream(stream, sessionKeys(session, nonce, sessionNonce), "source")
      }
      switch (chosen) {
        case "none":
          return stream
        case "dhxcp":
          return dhxcpStream(stream, yield* agreed(key!, answer.dhxcp, "source"))
        case "tls": {
          const { serverCertificate, clientCertificate } = yield* peerNamed(answer.tls?.clientName)
          const secured = yield* handshake(tlsClient, stream, { identity: clientIdentity, expected: serverCertificate })
          const peer = certificateKey(clientCertificate)
          offered.keep(peer, sessionOf(secured, peer), yield* Clock.currentTimeMillis)
          return secured
        }
      }
    })
    const forgotten = () => {
      if (session === undefined) return false
      offered.forget(destinationKey, session)
      return true
    }
    return { request, secure, forgotten }
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
        const peer = certificateKey(clientCertificate)
        const name = request.session && Buffer.from(request.session.id).toString("hex")
        const session = name === undefined ? undefined : taken.find(name, yield* Clock.currentTimeMillis)
        if (request.session !== undefined && session?.peer === peer) {
          const nonce = randomBytes(NONCE_BYTES)
          const keys = sessionKeys(session, request.session.nonce, nonce)
          return {
            response: { encryption: chosen, tls: { clientName }, sessionNonce: nonce },
            secure: (stream: Duplex) => Effect.succeed(sessionStream(stream, keys, "destination"))
          }
        }
        return {
          response: { encryption: chosen, tls: { clientName } },
          secure: Effect.fnUntraced(function* (stream: Duplex) {
            const secured = yield* handshake(tlsServer, stream, {
              identity: serverIdentity,
              expected: clientCertificate
            })
            const made = sessionOf(secured, peer)
            taken.keep(Buffer.from(made.id).toString("hex"), made, yield* Clock.currentTimeMillis)
            return secured
          })
        }
      }
    }
  })

  return { offer, answer }
}

const sessionStream = (stream: Duplex, keys: Dhxcp.StreamKeys, side: Dhxcp.Side): Duplex =>
  dhxcpStream(stream, { ...Dhxcp.directions(keys, side), endRecord: true, cipher: "aes-256-gcm" })

const handshake = (
  begin: typeof tlsClient | typeof tlsServer,
  stream: Duplex,
  options: Parameters<typeof tlsClient>[1]
): Effect.Effect<TLSSocket, EncryptionError> => {
  const failed = (detail: string) => Effect.fail(new EncryptionError({ reason: new HandshakeFailed({ detail }) }))
  return Effect.callback<TLSSocket, EncryptionError>((resume) => {
    const giveUp = begin(stream, options, (result) =>
      resume(result instanceof Error ? failed(result.message) : Effect.succeed(result))
    )
    return Effect.sync(giveUp)
  }).pipe(Effect.timeoutOrElse({ duration: HANDSHAKE_DEADLINE, orElse: () => failed("no answer in 15 s") }))
}
