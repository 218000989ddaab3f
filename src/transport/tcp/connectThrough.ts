import { type ClientRequest, request as httpRequest, STATUS_CODES } from "node:http"
import { connect, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { Effect, Redacted } from "effect"
import { formatProxy, type Proxy } from "../../domain/Proxy.ts"
import { format } from "../../domain/SocketAddress.ts"
import type { HostPort } from "../../internal/tcp.ts"
import { ProxyFailed, TransportError } from "../TransportError.ts"
import { negotiateSocks5 } from "./socks5.ts"

/** The longest answer of an HTTP proxy, from its first line to the end of its headers. */
const MAX_HEAD_BYTES = 16 * 1024

/**
 * Connects to a target through a proxy, which also resolves the target's name. What the target has sent already is in the
 * socket. It is the caller's, who also sets the deadline; it is destroyed on failure and when interrupted. Most proxies end
 * both halves when one ends.
 */
export const connectThrough = (
  proxy: Proxy,
  target: HostPort,
  options: {
    /** PEM roots that an `https` proxy's certificate may lead to; undefined: the system's. */
    readonly roots?: ReadonlyArray<string> | undefined
  } = {}
): Effect.Effect<Socket, TransportError> =>
  Effect.callback((resume) => {
    const socket = dial(proxy, options.roots)
    // An error may follow the one that was told.
    socket.on("error", ignored)
    const over = (result: Effect.Effect<Socket, TransportError>) => {
      socket.off("error", failed)
      resume(result)
    }
    const failed = (error: NodeJS.ErrnoException) => {
      socket.destroy()
      const reason = new ProxyFailed({ proxy: formatProxy(proxy), detail: detailOf(error) })
      over(Effect.fail(new TransportError({ reason })))
    }
    const negotiate = proxy.kind === "socks5" ? negotiateSocks5 : negotiateHttp
    socket.once("error", failed).once(proxy.kind === "https" ? "secureConnect" : "connect", () => {
      negotiate(socket, proxy, target).then(() => {
        over(Effect.succeed(socket))
        socket.off("error", ignored)
      }, failed)
    })
    return Effect.sync(() => socket.destroy())
  })

const ignored = () => {}

const dial = ({ kind, host, port }: Proxy, roots: ReadonlyArray<string> | undefined): Socket => {
  if (kind !== "https") return connect({ host, port, allowHalfOpen: true, noDelay: true })
  return connectTls({
    host,
    port,
    ALPNProtocols: ["http/1.1"],
    ...(isIP(host) === 0 && { servername: host }),
    ...(roots !== undefined && { ca: [...roots] })
  }).setNoDelay()
}

/** Asks an HTTP proxy with CONNECT. Rejects with what it said. */
const negotiateHttp = (socket: Socket, { credentials }: Proxy, target: HostPort): Promise<void> =>
  new Promise((resolve, reject) => {
    const authority = format(target)
    const request: ClientRequest = httpRequest({
      method: "CONNECT",
      path: authority,
      headers: {
        host: authority,
        ...(credentials !== undefined && {
          "proxy-authorization": `Basic ${Buffer.from(`${credentials.username}:${Redacted.value(credentials.password)}`).toString("base64")}`
        })
      },
      maxHeaderSize: MAX_HEAD_BYTES,
      createConnection: () => socket
    })
    request.once("error", reject)
    request.once("connect", ({ statusCode = 0 }, _socket, head) => {
      if (statusCode < 200 || statusCode > 299) return reject(new Error(refusal(statusCode, credentials, authority)))
      if (head.length > 0) socket.unshift(head)
      resolve()
    })
    request.end()
  })

/** What an HTTP status means here. */
const refusal = (status: number, credentials: Proxy["credentials"], target: string): string => {
  const answer = `${status} ${STATUS_CODES[status] ?? ""}`.trim()
  if (status === 407 || status === 401) {
    return credentials === undefined
      ? `it asks for a user name and a password (${answer}); write them into its URL, http://user:password@host:port`
      : `it does not accept the user name and password (${answer}); correct them in its URL`
  }
  if (status === 403 || status === 405) {
    return `it does not allow connections to ${target} (${answer}); allow that host and port there`
  }
  if (status >= 500) return `it cannot reach ${target} (${answer}); is the name known and the port open where it runs?`
  return `it answered ${answer} to a request for ${target}; is it a proxy that can CONNECT?`
}

/** What an error of the system, or of what reads the answer, means here. */
const detailOf = ({ code = "", message }: NodeJS.ErrnoException): string => {
  if (code === "ECONNREFUSED") return "nothing listens there; start it, or correct host and port"
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") return `its name cannot be resolved (${code}); correct it`
  if (code === "ECONNRESET") return "it closed the connection without an answer; does it speak the protocol of its URL?"
  if (code === "HPE_HEADER_OVERFLOW") return `its answer is longer than ${MAX_HEAD_BYTES} bytes; is it an HTTP proxy?`
  if (code.startsWith("HPE_")) return "its answer is not HTTP; is it an HTTP proxy?"
  if (code === "EPROTO" || code.startsWith("ERR_SSL_"))
    return "it does not speak TLS; write http:// instead of https://"
  if (CERTIFICATE.test(code)) {
    return `its certificate is not trusted (${message}); set NODE_EXTRA_CA_CERTS to the root that issued it`
  }
  return message
}

/** Node's codes for certificates that do not hold: `DEPTH_ZERO_SELF_SIGNED_CERT`, `ERR_TLS_CERT_ALTNAME_INVALID`, … */
const CERTIFICATE = /CERT|LEAF_SIGNATURE/
