/** What is measured: a way from a port on this machine to the service, and the processes that it is made of. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { Effect, Redacted } from "effect"
import { makeAuthority } from "../src/certs/Authority.ts"

const HERE = import.meta.dirname
const BIN = join(HERE, "..", "src", "bin.ts")
const CLOCK_TICKS = 100

export interface Subject {
  readonly name: string
  readonly port: number
  readonly processes: ReadonlyArray<ChildProcess>
}

const children = new Set<ChildProcess>()
const folder = mkdtempSync(join(tmpdir(), "connet-bench-"))

/** Ends every process and removes every file of the bench. */
export const cleanUp = async (): Promise<void> => {
  const ended = [...children].map((child) => new Promise((resolve) => child.once("exit", resolve)))
  for (const child of children) child.kill("SIGKILL")
  await Promise.all(ended)
  rmSync(folder, { recursive: true, force: true })
}

const COLLECT = ["--expose-gc", "--import", join(HERE, "roles", "collect.ts")]

export const start = (args: ReadonlyArray<string>): ChildProcess => {
  const env = { ...process.env, CONNET_CACHE_DIR: folder }
  const child = spawn(process.execPath, [...COLLECT, ...args], { stdio: ["ignore", "pipe", "pipe"], cwd: folder, env })
  children.add(child)
  child.once("exit", () => children.delete(child))
  return child
}

/** Waits until what a process writes matches. */
export const says = (child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> =>
  new Promise((resolve, reject) => {
    let text = ""
    const look = (bytes: Buffer) => {
      text += bytes
      const match = pattern.exec(text)
      if (match === null) return
      child.stdout!.off("data", look)
      child.stderr!.off("data", look)
      child.stderr!.resume()
      child.stdout!.resume()
      resolve(match)
    }
    child.stdout!.on("data", look)
    child.stderr!.on("data", look)
    child.once("exit", () => reject(new Error(`a process ended: ${text}`)))
  })

export const role = (name: string, ...args: ReadonlyArray<string>) =>
  start([join(HERE, "roles", `${name}.ts`), ...args])

export const portOf = async (child: ChildProcess): Promise<number> => Number((await says(child, /^(\d+)\n/))[1])

/** A TCP port that was free a moment ago; its UDP twin is free as well, as a rule. */
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

const startOneProcess =
  (name: string, file: string) =>
  async (service: number): Promise<Subject> => {
    const proxy = role(file, String(service))
    return { name, port: await portOf(proxy), processes: [proxy] }
  }

export const startProxy = startOneProcess("plain proxy", "proxy")

/** The same for HTTP: a reverse proxy. */
export const startHttpProxy = startOneProcess("plain HTTP proxy", "httpProxy")

const control = async () => {
  const [port, relay] = [await freePort(), await freePort()]
  const authority = await Effect.runPromise(makeAuthority())
  const identity = await Effect.runPromise(authority.issueServer(["127.0.0.1"]))
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const rootFile = file(`root-${port}.crt`, authority.certificatePem)
  const certificate = file(`${port}.crt`, identity.certificatePem)
  const key = file(`${port}.key`, Redacted.value(identity.privateKeyPem))
  const config = file(
    `server-${port}.toml`,
    `[server]\ntokens = ["bench"]\n[[server.ingress]]\naddr = "127.0.0.1:${port}"\ncert-file = "${certificate}"\nkey-file = "${key}"\n` +
      `[[server.relay-ingress]]\naddr = "127.0.0.1:${relay}"\n`
  )
  const server = start([BIN, "server", "--config", config])
  await says(server, /relay\.listening/)
  return { port, rootFile, file, process: server }
}

/** The smallest tunnel over HTTP/2: two processes. */
export const startBareTunnel = async (service: number): Promise<Subject> => {
  const destination = role("bareTunnel", "destination", String(service))
  const source = role("bareTunnel", "source", String(await portOf(destination)))
  return { name: "bare HTTP/2", port: await portOf(source), processes: [destination, source] }
}

export interface TunnelOptions {
  readonly transport: "auto" | "quic" | "tcp"
  /** What both ends speak besides the tunnel; undefined: bytes. */
  readonly scheme?: "http"
  /** Through the server's relay, encrypted like this. */
  readonly relayed?: "none" | "tls" | "dhxcp"
}

/** Server, destination and source: the command line as users run it. */
export const startTunnel = async (name: string, service: number, options: TunnelOptions): Promise<Subject> => {
  const { transport, relayed, scheme = "tcp" } = options
  const { port: server, rootFile, file, process } = await control()
  const port = await freePort()
  const way = relayed === undefined ? 'route = "direct"' : `route = "relay"\nrelay-encryptions = ["${relayed}"]`
  const client = (endpoint: string) =>
    file(
      `client-${server}-${endpoint.length}.toml`,
      `[client]\ntoken = "bench"\nserver-addr = "127.0.0.1:${server}"\nserver-cas-file = "${rootFile}"\ndirect-addr = "127.0.0.1:0"\n` +
        `transport = "${transport}"\n${endpoint}\n${way}\n`
    )
  const run = (endpoint: string) => start([BIN, "--config", client(endpoint)])
  const destination = run(`[client.destinations.bench]\nurl = "${scheme}://127.0.0.1:${service}"`)
  const source = run(`[client.sources.bench]\nurl = "${scheme}://127.0.0.1:${port}"`)
  if (relayed === undefined) {
    // With the choice, both are open at first, and TCP is taken from then on.
    await says(source, transport === "quic" ? /path\.open.*carrier=quic/ : /path\.open.*carrier=tcp/)
    return { name, port, processes: [destination, source] }
  }
  await Promise.all([says(source, /relay\.online/), says(destination, /relay\.online/)])
  return { name, port, processes: [destination, source, process] }
}

/** The same two clients with a bad link between them. */
export const startTunnelOverLink = async (service: number): Promise<Subject> => {
  const { port: server, rootFile } = await control()
  const [port, direct] = [await freePort(), await freePort()]
  const link = await portOf(role("link", String(direct)))
  const client = (options: object) => role("client", JSON.stringify({ server, rootFile, ...options }))
  const destination = client({ role: "destination", direct, port: service })
  const source = client({ role: "source", direct: 0, port, link })
  await says(source, /path\.open/)
  return { name: "tunnel over the bad link", port, processes: [destination, source] }
}

/** CPU time that the processes have used, in seconds. */
export const cpuSeconds = (processes: ReadonlyArray<ChildProcess>): number =>
  processes.reduce((sum, { pid }) => {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
    return sum + (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS
  }, 0)

const SETTLED_BYTES = 512 * 1024
const LOOK_EVERY_MILLIS = 300

/** Resident memory of the processes in bytes, without garbage, once it does not change any more. */
export const settledBytes = async (processes: ReadonlyArray<ChildProcess>): Promise<number> => {
  for (let last = 0; ; ) {
    for (const child of processes) child.kill("SIGUSR2")
    await setTimeout(LOOK_EVERY_MILLIS)
    const now = residentBytes(processes)
    if (Math.abs(now - last) < SETTLED_BYTES) return now
    last = now
  }
}

const residentBytes = (processes: ReadonlyArray<ChildProcess>): number =>
  processes.reduce((sum, { pid }) => {
    const status = readFileSync(`/proc/${pid}/status`, "utf8")
    return sum + 1024 * Number(/VmRSS:\s+(\d+)/.exec(status)![1])
  }, 0)
