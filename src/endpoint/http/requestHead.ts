/**
 * The head of an HTTP request, as a proxy may pass it on: what is refused of what Node's strict parser lets through, which
 * fields stay on their hop (RFC 9110 §7.6.1), and where the body ends.
 */
import type { IncomingMessage } from "node:http"

/** Field lines as Node gives and takes them: name, value, name, value, … */
export type FieldLines = ReadonlyArray<string>

export interface Refusal {
  readonly status: number
  readonly why: string
}

/** What may not be passed on: everything that two programs could read in two ways. */
export const refusalOf = (req: IncomingMessage, maxFields: number): Refusal | undefined => {
  const lines = req.rawHeaders
  if (lines.length > 2 * maxFields) return { status: 431, why: `more than ${maxFields} header fields` }
  if (isHttp2(req)) return targetRefusal(req)
  if (req.httpVersionMajor !== 1) return { status: 505, why: "only HTTP/1.1 and HTTP/1.0 are spoken here" }
  const hosts = valuesOf(lines, "host")
  if (hosts.length > 1) return { status: 400, why: "more than one Host field" }
  if (hosts[0] !== undefined && !HOST.test(hosts[0])) return { status: 400, why: "the Host field is not a host" }
  const codings = valuesOf(lines, "transfer-encoding")
  if (codings.length > 0) {
    if (req.httpVersionMinor === 0) return { status: 400, why: "Transfer-Encoding in a request of HTTP/1.0" }
    // Another coding below `chunked` would be lost with the field, which does not leave its hop.
    if (codings.join().trim().toLowerCase() !== "chunked") {
      return { status: 501, why: "only the transfer coding chunked is spoken here" }
    }
  }
  return targetRefusal(req)
}

const targetRefusal = (req: IncomingMessage): Refusal | undefined =>
  targetOf(req) === undefined ? { status: 400, why: "the request target is not a path" } : undefined

/** Whether it came in over HTTP/2; its version does not tell, since anybody can write `HTTP/2.0` on a line. */
export const isHttp2 = (req: IncomingMessage): boolean => "stream" in req

export interface Target {
  /** Path and query as they came, or `*`. */
  readonly path: string
  /** Of an absolute target, which counts more than the Host field (RFC 9112 §3.2.2). */
  readonly host: string | undefined
}

/** What a request asks for; undefined when it is neither a path nor an HTTP URL. */
export const targetOf = ({ url = "", method }: IncomingMessage): Target | undefined => {
  if (/[#\\\0-\x20\x7f]/.test(url)) return undefined
  if (url.startsWith("/")) return { path: url, host: undefined }
  if (url === "*" && method === "OPTIONS") return { path: url, host: undefined }
  const [, host, path = ""] = /^https?:\/\/([^/?]+)(.*)$/i.exec(url) ?? []
  if (host === undefined || !HOST.test(host)) return undefined
  return { path: path.startsWith("/") ? path : `/${path}`, host }
}

/** The host that the user asked for; empty when he named none. */
export const hostOf = (req: IncomingMessage): string =>
  targetOf(req)?.host ?? req.headers.host ?? (req.headers[":authority"] as string | undefined) ?? ""

/** The path below a base path, with one slash between them, and the queries of both. */
export const below = (basePath: string, query: string, path: string): string => {
  if (path === "*") return path
  const at = path.indexOf("?")
  const [own, asked] = at < 0 ? [path, ""] : [path.slice(0, at), path.slice(at + 1)]
  const queries = [query, asked].filter((part) => part !== "").join("&")
  return basePath.replace(/\/$/, "") + own + (queries === "" ? "" : `?${queries}`)
}

/** How the body of a request is delimited. */
export type Framing = { readonly _tag: "none" | "chunked" } | { readonly _tag: "length"; readonly length: string }

/** An HTTP/2 request without a length has a body unless its stream has ended already. */
export const framingOf = (req: IncomingMessage): Framing => {
  const length = req.headers["content-length"]
  if (length !== undefined) return { _tag: "length", length }
  if (req.headers["transfer-encoding"] !== undefined) return { _tag: "chunked" }
  const ended = !isHttp2(req) || (req as { stream?: { endAfterHeaders?: boolean } }).stream?.endAfterHeaders
  return { _tag: ended ? "none" : "chunked" }
}

/** A protocol that the request wants to go on with, if that can be passed on: not h2c, and not behind a body. */
export const upgradeOf = (req: IncomingMessage): string | undefined => {
  const { upgrade } = req.headers
  if (upgrade === undefined || req.method !== "GET" || framingOf(req)._tag !== "none") return undefined
  return /\bh2c?\b/i.test(upgrade) ? undefined : upgrade
}

/**
 * The fields that leave their hop, in their order and case. The framing of a body and the host are left out, too: whoever
 * passes them on says them anew.
 */
export const endToEnd = (lines: FieldLines): Array<string> => {
  const listed = valuesOf(lines, "connection").flatMap((value) => value.toLowerCase().split(/\s*,\s*/))
  const stays = new Set([...HOP_BY_HOP, ...listed])
  const kept: Array<string> = []
  for (let at = 0; at < lines.length; at += 2) {
    const name = lines[at]!
    if (!name.startsWith(":") && !stays.has(name.toLowerCase().trim())) kept.push(name, lines[at + 1]!)
  }
  return kept
}

/** All values of a field, in their order. */
export const valuesOf = (lines: FieldLines, name: string): Array<string> => {
  const values: Array<string> = []
  for (let at = 0; at < lines.length; at += 2) if (lines[at]!.toLowerCase() === name) values.push(lines[at + 1]!)
  return values
}

/** The fields without those of these names. */
export const without = (lines: FieldLines, names: ReadonlySet<string>): Array<string> => {
  const kept: Array<string> = []
  for (let at = 0; at < lines.length; at += 2) {
    if (!names.has(lines[at]!.toLowerCase())) kept.push(lines[at]!, lines[at + 1]!)
  }
  return kept
}

/** A name, an IPv4 address or a bracketed IPv6 one, with or without a port; may be empty (RFC 9112 §3.2). */
const HOST = /^(?:[\w.~!$&'()*+,;=%-]*|\[[\da-f:.]+\])(?::\d*)?$/i

const HOP_BY_HOP = [
  "connection",
  "proxy-connection",
  "keep-alive",
  "te",
  "transfer-encoding",
  "upgrade",
  "proxy-authenticate",
  "proxy-authorization",
  "content-length",
  "trailer",
  "host"
]
