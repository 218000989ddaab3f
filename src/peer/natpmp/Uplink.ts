/**
 * The way out of this host: where its packets leave, and the router that takes them.
 *
 * Only one with a private address is of interest: a public one needs no router to forward anything.
 */
import { execFile } from "node:child_process"
import { createSocket } from "node:dgram"
import { readFile } from "node:fs/promises"
import { isIPv4 } from "node:net"
import { networkInterfaces } from "node:os"
import { promisify } from "node:util"
import { Effect, Schema } from "effect"
import { isPrivate } from "../../domain/privateNetworks.ts"
import type { HostPort } from "../../internal/tcp.ts"
import { GATEWAY_PORT } from "./NatPmp.ts"
import type { Uplink } from "./PortMapping.ts"

/** This system does not tell its routes, and never will. */
export class RoutesUnknown extends Schema.TaggedError<RoutesUnknown>()("RoutesUnknown", { detail: Schema.String }) {
  override get message() {
    return `the router of this host cannot be told: ${this.detail}; forward the port by hand if it is needed`
  }
}

/** Looks for the way out; undefined where there is none with a private address at the moment. */
export type FindUplink = Effect.Effect<Uplink | undefined, RoutesUnknown>

/** A default route, as far as a system tells it: the address of this host, or the interface that has it. */
export type DefaultRoute =
  | { readonly gateway: string; readonly address: string }
  | { readonly gateway: string; readonly interfaceName: string }

/** The default route of the system. */
export const systemUplink: FindUplink = Effect.suspend(() => {
  const route = ROUTES[process.platform]
  return route === undefined
    ? Effect.fail(new RoutesUnknown({ detail: `connet does not know where ${process.platform} has its routes` }))
    : Effect.map(route, (route) => (route === undefined ? undefined : uplinkOf(route)))
})

/** The address from which packets to a server leave, and the first address of its network, which often is the router. */
export const dialedUplink = (server: HostPort): FindUplink => Effect.map(addressTowards(server), guessed)

export const guessed = (address: string | undefined): Uplink | undefined =>
  address === undefined ? undefined : privateUplink(address, address.replace(/\d+$/, "1"))

const uplinkOf = (route: DefaultRoute): Uplink | undefined => {
  if ("address" in route) return privateUplink(route.address, route.gateway)
  const addresses = networkInterfaces()[route.interfaceName] ?? []
  const own = addresses.find(({ address }) => isIPv4(address))
  return own === undefined ? undefined : privateUplink(own.address, route.gateway)
}

const privateUplink = (address: string, gateway: string): Uplink | undefined =>
  isIPv4(gateway) && gateway !== address && isPrivate(address)
    ? { address, gateway: { host: gateway, port: GATEWAY_PORT } }
    : undefined

/** Connecting a UDP socket sends nothing. What cannot be reached has no way out, for now. */
const addressTowards = ({ host, port }: HostPort): Effect.Effect<string | undefined> =>
  Effect.acquireUseRelease(
    Effect.sync(() => createSocket("udp4")),
    (socket) =>
      Effect.callback<string | undefined>((resume) => {
        socket.on("error", () => resume(Effect.undefined))
        socket.connect(port, host, () => resume(Effect.succeed(socket.address().address)))
      }).pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => Effect.undefined })),
    (socket) => Effect.sync(() => socket.close())
  )

/** What a system says about its routes; nothing when it cannot at the moment. What it never will is an error. */
const said = (what: string, ask: (signal: AbortSignal) => Promise<string>): Effect.Effect<string, RoutesUnknown> =>
  Effect.tryPromise({ try: ask, catch: (cause) => (cause as NodeJS.ErrnoException).code ?? "" }).pipe(
    Effect.catch((code) =>
      code === "ENOENT" || code === "EACCES" || code === "EPERM"
        ? Effect.fail(new RoutesUnknown({ detail: `${what} cannot be used (${code})` }))
        : Effect.succeed("")
    )
  )

const output = (program: string, ...args: ReadonlyArray<string>) =>
  said(program, async (signal) => {
    const { stdout } = await promisify(execFile)(program, args, { signal, timeout: 5_000, windowsHide: true })
    return stdout
  })

const LINUX_ROUTES = "/proc/net/route"

/** `/proc/net/route` of Linux: addresses are 32 bits in the order of the machine, flag 1 is up, 2 a gateway. */
export const parseLinux = (table: string): DefaultRoute | undefined => {
  const routes = table.split("\n").flatMap((line) => {
    const [interfaceName = "", destination, gateway = "", flags = "", , , metric, mask] = line.trim().split(/\s+/)
    const usable = destination === "00000000" && mask === "00000000" && (Number.parseInt(flags, 16) & 3) === 3
    return usable ? [{ interfaceName, gateway: dotted(Number.parseInt(gateway, 16)), metric: Number(metric) }] : []
  })
  const [best] = routes.sort((a, b) => a.metric - b.metric)
  return best === undefined ? undefined : { interfaceName: best.interfaceName, gateway: best.gateway }
}

const dotted = (number: number) => new Uint8Array(Uint32Array.of(number).buffer).join(".")

/** `route -n get default` of macOS and the BSDs. */
export const parseBsd = (text: string): DefaultRoute | undefined => {
  const value = (key: string) => new RegExp(`^\\s*${key}: (\\S+)$`, "m").exec(text)?.[1]
  const [gateway, interfaceName] = [value("gateway"), value("interface")]
  return gateway === undefined || interfaceName === undefined ? undefined : { gateway, interfaceName }
}

/** `route print -4 0.0.0.0` of Windows, in any language: destination, mask, gateway, own address, metric. */
export const parseWindows = (text: string): DefaultRoute | undefined => {
  const routes = [...text.matchAll(/^\s*0\.0\.0\.0\s+0\.0\.0\.0\s+([\d.]+)\s+([\d.]+)\s+(\d+)\s*$/gm)]
  const [best] = routes.sort((a, b) => Number(a[3]) - Number(b[3]))
  return best === undefined ? undefined : { gateway: best[1]!, address: best[2]! }
}

const bsdRoute = Effect.map(output("/sbin/route", "-n", "get", "default"), parseBsd)

/** How each system tells its default route. */
const ROUTES: Partial<Record<NodeJS.Platform, Effect.Effect<DefaultRoute | undefined, RoutesUnknown>>> = {
  linux: Effect.map(
    said(LINUX_ROUTES, (signal) => readFile(LINUX_ROUTES, { encoding: "latin1", signal })),
    parseLinux
  ),
  darwin: bsdRoute,
  freebsd: bsdRoute,
  openbsd: bsdRoute,
  win32: Effect.map(output("route.exe", "print", "-4", "0.0.0.0"), parseWindows)
}
