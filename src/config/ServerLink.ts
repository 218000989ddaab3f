/**
 * A link to a server, all that a client needs to come in: `connet://<token>@<host>:<port>?pin=<sha256>`. The pin is the
 * SHA-256 fingerprint of the server's certificate, 64 hexadecimal letters; it stands in for the authorities that vouch for it.
 */
import { Redacted, Result } from "effect"
import { format, type SocketAddress } from "../domain/SocketAddress.ts"
import { type HostPort, parseServerAddress } from "./HostPort.ts"

export interface ServerLink {
  readonly server: HostPort
  /** Undefined: the link has none, another setting tells it. */
  readonly token: Redacted.Redacted<string> | undefined
  /** Undefined: authorities vouch for the server. */
  readonly pin: string | undefined
}

/** A link from its text, or a half sentence about it that holds nothing of its token. */
export const parseServerLink = (text: string): Result.Result<ServerLink, string> => {
  const [, userinfo = "", authority, query = ""] =
    /^connet:\/\/(?:([^@/?#]*)@)?([^@/?#]*)\/?(?:\?([^#]*))?$/.exec(text) ?? []
  if (authority === undefined) return Result.fail(`the link is not one; write ${FORM}`)
  const token = Result.try(() => decodeURIComponent(userinfo))
  if (Result.isFailure(token))
    return Result.fail('the link has a "%" in its token that encodes nothing; write %25 for the sign itself')
  const server = parseServerAddress(DEFAULT_PORT)(authority)
  if (Result.isFailure(server)) return Result.fail(`the link has no server: ${server.failure}`)
  const parameters = [...new URLSearchParams(query)]
  const unknown = parameters.find(([name]) => name !== "pin")
  if (unknown !== undefined) return Result.fail(`the link has a "${unknown[0]}", which means nothing; write ${FORM}`)
  const [pin, ...more] = parameters.map(([, value]) => parsePin(value))
  if (more.length > 0) return Result.fail("the link has more than one pin; keep one")
  if (pin !== undefined && Result.isFailure(pin)) return Result.fail(pin.failure)
  return Result.succeed({
    server: server.success,
    token: token.success === "" ? undefined : Redacted.make(token.success, { label: "token" }),
    pin: pin?.success
  })
}

/** The SHA-256 fingerprint of a certificate, in hexadecimal letters with or without colons. */
export const parsePin = (text: string): Result.Result<string, string> => {
  const pin = text.replaceAll(":", "").toLowerCase()
  return /^[0-9a-f]{64}$/.test(pin)
    ? Result.succeed(pin)
    : Result.fail(`"${text}" is not a pin; write the 64 hexadecimal letters that the server prints`)
}

/** The link as people copy it. Without a token it has a place for one. */
export const formatServerLink = (
  token: Redacted.Redacted<string> | undefined,
  server: SocketAddress,
  pin: string
): string =>
  `connet://${token === undefined ? "<token>" : encodeURIComponent(Redacted.value(token))}@${format(server)}?pin=${pin}`

const FORM = "connet://token@host:port?pin=sha256"
const DEFAULT_PORT = 19190
