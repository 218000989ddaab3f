/**
 * The `url` of an endpoint. What is wrong with it comes as a half sentence that says what to write instead. Stricter than
 * upstream where it ignores a part of what was written: a query, a user, the host of a folder.
 */
import { Result } from "effect"
import type {
  DestinationUrl,
  FileUrl,
  HttpUrl,
  SocketUrl,
  SourceUrl,
  UnixUrl,
  WebSocketUrl
} from "../domain/EndpointUrl.ts"
import { dialable, parseHostport, parseListenAddress } from "./HostPort.ts"

/** The service of a destination. */
export const parseDestinationUrl = (text: string): Result.Result<DestinationUrl, string> => {
  const { scheme } = split(text)
  if (scheme === "tcp" || scheme === "tls")
    return Result.flatMap(parseSocket(scheme, text), (url) => dialable(url, quoted(text)))
  if (scheme === "unix") return parseUnix(text)
  if (scheme === "http" || scheme === "https") {
    return Result.flatMap(parseHttp(scheme, text), (url) => dialable(url, quoted(text)))
  }
  if (scheme === "file") return parseFolder(text)
  return refusedScheme(text, scheme, "a destination leads to", DESTINATIONS, SOURCES)
}

/** What a source offers to its users. */
export const parseSourceUrl = (text: string): Result.Result<SourceUrl, string> => {
  const { scheme } = split(text)
  if (scheme === "tcp" || scheme === "tls") return parseSocket(scheme, text)
  if (scheme === "unix") return parseUnix(text)
  if (scheme === "http" || scheme === "https") {
    return Result.flatMap(parseHttp(scheme, text), (url) => withoutQuery(url, text))
  }
  if (scheme === "ws" || scheme === "wss") return parseWebSocket(scheme, text)
  return refusedScheme(text, scheme, "a source offers", SOURCES, DESTINATIONS)
}

const DESTINATIONS = ["tcp", "tls", "unix", "http", "https", "file"]
const SOURCES = ["tcp", "tls", "unix", "http", "https", "ws", "wss"]

/** Ports of URLs that have none. */
const PORTS = { http: 80, https: 443, ws: 80, wss: 443 }

interface Parts {
  readonly scheme: string | undefined
  /** Undefined without `//`. */
  readonly authority: string | undefined
  /** Everything behind the authority, or behind the colon of the scheme. */
  readonly rest: string
}

const split = (text: string): Parts => {
  const [, scheme, authority, rest = ""] = /^([a-z][a-z0-9+.-]*):(?:\/\/([^/?#]*))?(.*)$/is.exec(text) ?? []
  return { scheme: scheme?.toLowerCase(), authority, rest }
}

/** The text as messages show it: a user may have a password. */
const quoted = (text: string): string => `"${text.replace(/\/\/.*@/, "//…@")}"`

const refusedScheme = (
  text: string,
  scheme: string | undefined,
  what: string,
  schemes: ReadonlyArray<string>,
  others: ReadonlyArray<string>
): Result.Result<never, string> => {
  if (text === "") return Result.fail("there is none; write tcp://host:port")
  if (scheme === undefined) return Result.fail(`${quoted(text)} is not a URL; write tcp://host:port`)
  if (/^[^:/]+:\d+$/.test(text)) return Result.fail(`${quoted(text)} has no scheme; write tcp://${text}`)
  const list = schemes.join(", ")
  return others.includes(scheme)
    ? Result.fail(`${scheme} is not something that ${what}; write one of ${list}`)
    : Result.fail(`${quoted(text)} has an unknown scheme; write one of ${list}`)
}

const parseSocket = (scheme: SocketUrl["_tag"], text: string): Result.Result<SocketUrl, string> => {
  const { authority, rest } = split(text)
  const expected = `write ${scheme}://host:port`
  if (authority === undefined) return Result.fail(`${quoted(text)} is not a URL; ${expected}`)
  if (authority.includes("@")) return Result.fail(`${quoted(text)} has a user; ${expected}`)
  if (rest !== "") return Result.fail(`${quoted(text)} has more than host and port; write ${scheme}://${authority}`)
  if (!/:\d+$/.test(authority)) return Result.fail(`${quoted(text)} has no port number; ${expected}`)
  return Result.map(parseListenAddress(authority), (address) => ({ _tag: scheme, ...address }))
}

const parseUnix = (text: string): Result.Result<UnixUrl, string> => {
  const { authority, rest } = split(text)
  if (authority !== undefined && authority !== "") {
    return Result.fail(`${quoted(text)} has a host; write unix:/path, or unix:path for a relative one`)
  }
  if (rest === "") return Result.fail(`${quoted(text)} has no path; write unix:/path`)
  if (rest.includes("\0")) return Result.fail("the path has a NUL in it; write unix:/path")
  if (rest.endsWith("/")) return Result.fail(`${quoted(text)} is a folder; write unix:/path of a socket in it`)
  const bytes = Buffer.byteLength(rest)
  return bytes > MAX_UNIX_PATH
    ? Result.fail(`the path has ${bytes} bytes, and sockets have ${MAX_UNIX_PATH} at most; choose a shorter one`)
    : Result.succeed({ _tag: "unix", path: rest })
}

/** `sun_path` less its NUL: 108 bytes on Linux, 104 on macOS and the BSDs. */
const MAX_UNIX_PATH = process.platform === "linux" ? 107 : 103

const parseFolder = (text: string): Result.Result<FileUrl, string> => {
  const { authority, rest } = split(text)
  if (authority !== undefined && authority !== "" && authority !== "localhost") {
    return Result.fail(`${quoted(text)} has a host; write file:///path, or file:path for a relative one`)
  }
  // As in any file URL; a relative path is no URL path, and stands as it is.
  const root = rest.startsWith("/") ? decoded(rest) : Result.succeed(rest === "" ? "." : rest)
  if (Result.isFailure(root)) return Result.fail(`${quoted(text)} ${root.failure}`)
  if (root.success.includes("\0")) return Result.fail("the path has a NUL in it; write file:/path")
  return Result.succeed({ _tag: "file", root: root.success })
}

const decoded = (path: string): Result.Result<string, string> =>
  Result.mapError(
    Result.try(() => decodeURIComponent(path)),
    () => 'has a "%" that encodes nothing; write %25 for the sign itself'
  )

/** Host, port and what is behind them, as requests have it. */
const parseWeb = (scheme: keyof typeof PORTS, text: string) => {
  const { authority, rest } = split(text)
  const refused = (why: string) => Result.fail(`${quoted(text)} ${why}`)
  if (authority === undefined) return refused(`is not a URL; write ${scheme}://host:port/path`)
  if (authority.includes("@")) return refused(`has a user; write ${scheme}://host:port/path`)
  if (rest.includes("#")) return refused("has a fragment, which no request carries; leave it out")
  if (/%(?![0-9a-f]{2})/i.test(rest)) return refused('has a "%" that encodes nothing; write %25 for the sign itself')
  const address = parseHostport(authority)
  if (Result.isFailure(address)) return Result.fail(address.failure)
  const url = URL.parse(`http://host${rest}`)
  if (url === null) return refused(`is not a URL; write ${scheme}://host:port/path`)
  return Result.succeed({
    host: address.success.host,
    port: /:\d+$/.test(authority) ? address.success.port : PORTS[scheme],
    authority,
    path: /^[?]|^$/.test(rest) ? "" : url.pathname,
    query: url.search.slice(1)
  })
}

const parseHttp = (scheme: HttpUrl["_tag"], text: string): Result.Result<HttpUrl, string> =>
  Result.map(parseWeb(scheme, text), ({ path, ...url }) => ({ _tag: scheme, ...url, basePath: path }))

const parseWebSocket = (scheme: WebSocketUrl["_tag"], text: string): Result.Result<WebSocketUrl, string> =>
  Result.flatMap(parseWeb(scheme, text), (url) =>
    Result.map(withoutQuery(url, text), ({ query: _query, ...rest }) => ({ _tag: scheme, ...rest }))
  )

const withoutQuery = <A extends { readonly query: string }>(url: A, text: string): Result.Result<A, string> =>
  url.query === ""
    ? Result.succeed(url)
    : Result.fail(`${quoted(text)} has a query, which says nothing of where to listen; leave it out`)
