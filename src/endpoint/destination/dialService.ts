/**
 * How a destination reaches its service: TCP, TLS or a Unix domain socket. What comes out is a stream of bytes, whichever it
 * was: an end is an end and leaves the other direction open, a reset is a reset.
 *
 * A service may end TLS without its farewell, as many do; that is taken as its end, as browsers and proxies take it.
 */
import { isIP, type Socket } from "node:net"
import type { Duplex } from "node:stream"
import { createSecureContext, type SecureContext, type TLSSocket, connect as tlsConnect } from "node:tls"
import { Duration, Effect, Redacted, type Scope } from "effect"
import type { Identity } from "../../certs/Identity.ts"
import { format } from "../../domain/EndpointUrl.ts"
import { abort } from "../../internal/abort.ts"
import { after, raceLater } from "../../internal/raceLater.ts"
import { resettable } from "../../internal/resettable.ts"
import { connectTcp } from "../../internal/tcp.ts"
import { connectUnix } from "../../internal/unix.ts"
import { EndpointError, ServiceNotSecured, ServiceUnreachable, ServiceUntrusted } from "../EndpointError.ts"

/** Where the service is, with what TLS needs. */
export type Service =
  | { readonly _tag: "tcp"; readonly host: string; readonly port: number }
  | { readonly _tag: "unix"; readonly path: string }
  | TlsService

/** Who a service must be over TLS, and what is shown to it. */
export interface ServiceTls {
  /** `"anyone"`: the certificate is not looked at. Else the roots (PEM) it must lead to; undefined: the system's. */
  readonly trust: "anyone" | ReadonlyArray<string> | undefined
  /** What we show, if the service asks. */
  readonly identity: Identity | undefined
}

export interface TlsService extends ServiceTls {
  readonly _tag: "tls"
  /** Also the name that the certificate must have. */
  readonly host: string
  readonly port: number
}

/**
 * Dials the service, each time that it is run. The stream is reset with the Scope, if it is not over by then; the time is
 * for everything until it can be used, TLS included.
 */
export const dialService = (
  service: Service,
  dialTimeout: Duration.Duration
): Effect.Effect<Duplex, EndpointError, Scope.Scope> => {
  const address = service._tag === "unix" ? format(service) : format({ ...service, _tag: "tcp" }).slice("tcp://".length)
  const unreachable = (code: string) => new EndpointError({ reason: new ServiceUnreachable({ address, code }) })

  const raw = (service._tag === "unix" ? connectUnix(service.path) : connectTcp(service)).pipe(
    Effect.tap((socket) => Effect.sync(() => socket.on("error", () => {}))),
    Effect.mapError((error) => unreachable(error.code ?? error.message))
  )
  const held = <A extends Duplex, E>(stream: Effect.Effect<A, E>): Effect.Effect<A, E, Scope.Scope> =>
    Effect.acquireRelease(stream, (stream) => Effect.sync(() => abort(stream)), { interruptible: true })

  const context = service._tag === "tls" ? contextOf(service) : undefined
  const dial =
    service._tag === "tls" && context !== undefined
      ? Effect.flatMap(held(raw), (socket) => held(secured(socket, service, context, address)))
      : held(raw)
  const tooLate = Effect.suspend(() => Effect.fail(unreachable("timed out")))
  return raceLater(dial, after(Duration.toMillis(dialTimeout), tooLate))
}

/** To be made once: it takes longer than a handshake. The system's roots are Node's own, which it keeps parsed. */
export const contextOf = ({ trust, identity }: ServiceTls): SecureContext =>
  createSecureContext({
    ...(trust !== undefined && trust !== "anyone" && { ca: [...trust] }),
    ...(identity !== undefined && { cert: identity.certificatePem, key: Redacted.value(identity.privateKeyPem) })
  })

const secured = (
  socket: Socket,
  { host, trust }: TlsService,
  secureContext: SecureContext,
  address: string
): Effect.Effect<TLSSocket, EndpointError> =>
  Effect.callback((resume) => {
    const secure = tlsConnect({
      socket,
      secureContext,
      host,
      // An IP address is never sent (RFC 6066 §3).
      servername: isIP(host) === 0 ? host : "",
      rejectUnauthorized: trust !== "anyone"
    })
    const failed = (error: NodeJS.ErrnoException) => resume(Effect.fail(refusal(error, address, host)))
    secure.on("error", () => {})
    secure.once("error", failed).once("secureConnect", () => {
      secure.off("error", failed)
      resume(Effect.succeed(resettable(secure, socket)))
    })
    return Effect.sync(() => secure.destroy())
  })

const refusal = (error: NodeJS.ErrnoException & { readonly reason?: string }, address: string, name: string) => {
  const code = error.code ?? error.message
  if (!UNTRUSTED.test(code)) return new EndpointError({ reason: new ServiceNotSecured({ address, code }) })
  return new EndpointError({
    reason: new ServiceUntrusted({ address, name, code, names: code === WRONG_NAME ? (error.reason ?? "") : "" })
  })
}

const WRONG_NAME = "ERR_TLS_CERT_ALTNAME_INVALID"

/** What OpenSSL says of certificates, as Node names it. */
const UNTRUSTED =
  /^(?:CERT_|CRL_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_|PATH_LENGTH_|HOSTNAME_|ERROR_IN_CERT|ERR_TLS_CERT_)/
