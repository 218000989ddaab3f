/**
 * SOCKS5 as a client speaks it: a greeting, a user name and a password (RFC 1929) if they are asked for, one request
 * (RFC 1928). Exactly the bytes of the answers are taken from the socket; whatever is behind them stays in it.
 */
import { isIP } from "node:net"
import type { Duplex } from "node:stream"
import { Redacted } from "effect"
import type { Proxy } from "../../domain/Proxy.ts"
import { format, toBytes } from "../../domain/SocketAddress.ts"
import type { HostPort } from "../../internal/tcp.ts"

const VERSION = 5
const AUTHENTICATION_VERSION = 1
const NO_AUTHENTICATION = 0
const PASSWORD = 2
const CONNECT = 1
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 }

/** Asks for a connection to the target; a name is sent as it is. Rejects with what the proxy said. */
export const negotiateSocks5 = async (socket: Duplex, { credentials }: Proxy, target: HostPort): Promise<void> => {
  const answer = readerOf(socket)
  const methods = credentials === undefined ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, PASSWORD]
  socket.write(Uint8Array.of(VERSION, methods.length, ...methods))
  const [version, method] = await answer(2)
  if (version !== VERSION) throw new Error("it does not speak SOCKS5; is it a proxy of another kind?")
  if (method === PASSWORD && credentials !== undefined) {
    const { username, password } = credentials
    socket.write(
      Buffer.concat([[AUTHENTICATION_VERSION], ...[username, Redacted.value(password)].map(counted)].map(bytes))
    )
    const [, status] = await answer(2)
    if (status !== 0) throw new Error("it does not accept the user name and password; correct them in its URL")
  } else if (method !== NO_AUTHENTICATION) {
    throw new Error(
      credentials === undefined
        ? "it asks for a user name and a password; write them into its URL, socks5://user:password@host:port"
        : "it takes no user name and password, and asks for something else that connet does not have"
    )
  }
  socket.write(requestFor(target))
  const [, code = 0, , kind] = await answer(4)
  if (code !== 0) throw new Error(REFUSALS.get(code)?.(format(target)) ?? `it refused ${format(target)} (code ${code})`)
  // Where the proxy connects from: of no use to us, but it has to be read.
  const length = kind === ADDRESS.ipv4 ? 4 : kind === ADDRESS.ipv6 ? 16 : (await answer(1))[0]!
  await answer(length + 2)
}

const requestFor = ({ host, port }: HostPort): Buffer => {
  const family = isIP(host)
  if (family === 0 && Buffer.byteLength(host) > 255) throw new Error("the name of the target has more than 255 bytes")
  const address =
    family === 0 ? [ADDRESS.name, ...counted(host)] : [family === 4 ? ADDRESS.ipv4 : ADDRESS.ipv6, ...toBytes(host)!]
  return bytes([VERSION, CONNECT, 0, ...address, port >> 8, port & 255])
}

/** A text behind its length, which is one byte. */
const counted = (text: string): ReadonlyArray<number> => {
  const encoded = Buffer.from(text)
  return [encoded.length, ...encoded]
}

const bytes = (numbers: ReadonlyArray<number>) => Buffer.from(numbers)

/** Takes exactly so many bytes from the socket, in order; rejects when it ends before. */
const readerOf =
  (socket: Duplex) =>
  (size: number): Promise<Buffer> =>
    new Promise((resolve, reject) => {
      const look = () => {
        const bytes: Buffer | null = socket.read(size)
        if (bytes?.length === size) done(() => resolve(bytes))
      }
      const ended = () =>
        done(() => reject(new Error("it closed the connection without an answer; is it a SOCKS5 proxy?")))
      const done = (settle: () => void) => {
        socket.off("readable", look).off("end", ended).off("close", ended)
        settle()
      }
      socket.on("readable", look).once("end", ended).once("close", ended)
      look()
    })

/** What the codes of RFC 1928 §6 mean here. */
const REFUSALS: ReadonlyMap<number, (target: string) => string> = new Map<number, (target: string) => string>([
  [1, (target) => `it cannot reach ${target}; is the name known and the port open where it runs?`],
  [2, (target) => `it does not allow connections to ${target}; allow that host and port there`],
  [3, (target) => `it has no network that leads to ${target}`],
  [4, (target) => `it cannot reach ${target}; is the name known and the host up where it runs?`],
  [5, (target) => `nothing listens at ${target}, as it sees it; correct host and port`],
  [6, (target) => `it cannot reach ${target}: the way is too long`],
  [7, () => "it does not connect to anything (command not supported)"],
  [8, (target) => `it does not take addresses like ${target}; write a name or another address`]
])
