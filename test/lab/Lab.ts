/**
 * A network of its own for a test: each host is a namespace with one IPv4 address, all are joined by a router, and what a
 * host's firewall drops is dropped at the router, in silence.
 *
 *     server 10.77.1.2 ──┐
 *       left 10.77.2.2 ──┤ router
 *      right 10.77.3.2 ──┘
 *
 * Nothing of it is seen outside: links are made inside the namespaces, and no route leads out. A lab needs root, `ip` and
 * `nft`. Its namespaces are removed with its Scope; those of test runs that died are removed by the next lab.
 */
import { execFile } from "node:child_process"
import { readdirSync } from "node:fs"
import { Effect, Schema } from "effect"

/** What the names of all namespaces begin with; the process that made one follows. */
const PREFIX = "connet-lab"

/** A command of the lab failed. */
export class LabFailed extends Schema.TaggedError<LabFailed>()("LabFailed", {
  command: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `${this.command}: ${this.detail}`
  }
}

/** An address and a TCP port. */
export interface Target {
  readonly address: string
  readonly port: number
}

export interface Host {
  readonly address: string
  /** A command that runs the one behind it on this host, as the same process. */
  readonly inside: ReadonlyArray<string>
  /** The router as this host sees it. */
  readonly gateway: { readonly address: string; readonly inside: ReadonlyArray<string> }
  /**
   * Puts this host behind a NAT that no hole is punched in: what it sends leaves from the router, at a random port for each
   * target, and nothing gets in but answers, and what the chain `prerouting` of the table `ip NAME-nat` forwards.
   */
  readonly hide: Effect.Effect<void, LabFailed>
  /** Runs a command on this host to its end: what it wrote. */
  readonly exec: (...command: ReadonlyArray<string>) => Effect.Effect<string, LabFailed>
  /** Drops all UDP from and to this host, or only that between it and some addresses. */
  readonly blockUdp: (...addresses: ReadonlyArray<string>) => Effect.Effect<void, LabFailed>
  /** Drops everything between this host and some addresses. */
  readonly block: (...addresses: ReadonlyArray<string>) => Effect.Effect<void, LabFailed>
  /** Undoes `block`. */
  readonly unblock: Effect.Effect<void, LabFailed>
  /** Lets UDP through again. */
  readonly unblockUdp: Effect.Effect<void, LabFailed>
  /** Drops TCP from and to this host, but for connections it opens to this target. UDP is left as it is. */
  readonly blockAllTcpExcept: (address: string, port: number) => Effect.Effect<void, LabFailed>
  /** Drops everything from and to this host, but for TCP connections it opens to these targets. */
  readonly allowOnly: (...targets: ReadonlyArray<Target>) => Effect.Effect<void, LabFailed>
}

export type Lab<Name extends string> = Readonly<Record<Name, Host>>

let labs = 0

/** A lab with these hosts (at most 15 letters each: a network interface has the name), until the Scope ends. */
export const makeLab = Effect.fnUntraced(function* <const Name extends string>(names: ReadonlyArray<Name>) {
  yield* removeLeftovers
  const prefix = `${prefixOf(process.pid)}${++labs}-`
  const router = yield* namespace(`${prefix}router`)
  yield* run("ip", "netns", "exec", router, "sysctl", "-qw", "net.ipv4.ip_forward=1")
  const hosts = yield* Effect.forEach(names, (name, index) => makeHost(prefix, router, name, `10.77.${index + 1}`))
  const lab: Partial<Record<Name, Host>> = {}
  for (const [index, name] of names.entries()) lab[name] = hosts[index]!
  return lab as Lab<Name>
})

/** The namespaces of labs that this process has made and not removed. */
export const ownNamespaces = (): ReadonlyArray<string> =>
  namespaces().filter((name) => name.startsWith(prefixOf(process.pid)))

const makeHost = Effect.fnUntraced(function* (prefix: string, router: string, name: string, network: string) {
  const own = yield* namespace(`${prefix}${name}`)
  const address = `${network}.2`
  yield* run("ip", "link", "add", "eth0", "netns", own, "type", "veth", "peer", "name", name, "netns", router)
  yield* run("ip", "-n", router, "address", "add", `${network}.1/24`, "dev", name)
  yield* run("ip", "-n", router, "link", "set", "dev", name, "up")
  yield* run("ip", "-n", own, "address", "add", `${address}/24`, "dev", "eth0")
  yield* run("ip", "-n", own, "link", "set", "dev", "eth0", "up")
  yield* run("ip", "-n", own, "route", "add", "default", "via", `${network}.1`)

  const inside = ["ip", "netns", "exec", own] as const
  /** Replaces the rules of one protocol; each has a table, and a packet must pass all. */
  const rules = (table: string, ...lines: ReadonlyArray<string>) =>
    run("ip", "netns", "exec", router, "nft", ruleset(`${name}-${table}`, lines)).pipe(Effect.asVoid)
  /** Rules for both directions; in the one to this host, source and destination change places. */
  const bothWays = (rule: string) => [
    `iifname "${name}" ${rule}`,
    `oifname "${name}" ${rule.replace("daddr", "saddr").replace("dport", "sport")}`
  ]
  const accept = ({ address, port }: Target) => bothWays(`ip daddr ${address} tcp dport ${port} accept`)

  return {
    address,
    inside,
    gateway: { address: `${network}.1`, inside: ["ip", "netns", "exec", router] },
    hide: Effect.andThen(
      run("ip", "netns", "exec", router, "nft", natRuleset(`${name}-nat`, address)),
      rules(
        "nat",
        `oifname "${name}" ct state established,related accept`,
        `oifname "${name}" ct status dnat accept`,
        `oifname "${name}" drop`
      )
    ),
    exec: (...command) => run(...inside, ...command),
    blockUdp: (...addresses) => {
      const only = addresses.length === 0 ? "" : `ip daddr { ${addresses.join(", ")} } `
      return rules("udp", ...bothWays(`${only}meta l4proto udp drop`))
    },
    unblockUdp: rules("udp"),
    block: (...addresses) => rules("hosts", ...bothWays(`ip daddr { ${addresses.join(", ")} } drop`)),
    unblock: rules("hosts"),
    blockAllTcpExcept: (address, port) =>
      rules("tcp", ...accept({ address, port }), ...bothWays("meta l4proto tcp drop")),
    allowOnly: (...targets) => rules("all", ...targets.flatMap(accept), ...bothWays("drop"))
  } satisfies Host
})

/** Creates or replaces a table with these rules for what is forwarded. */
const ruleset = (table: string, rules: ReadonlyArray<string>): string => {
  const chain = ["chain forward {", "type filter hook forward priority 0", ...rules, "}"].join("\n")
  return `table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${chain}\n}\n`
}

/** A table that hides an address behind the router. */
const natRuleset = (table: string, address: string): string =>
  [
    `table ip ${table} {`,
    "chain prerouting {",
    "type nat hook prerouting priority -100",
    "}",
    "chain postrouting {",
    "type nat hook postrouting priority 100",
    `ip saddr ${address} masquerade random,fully-random`,
    "}",
    "}"
  ].join("\n")

/** A namespace with its loopback up, until the Scope ends. */
const namespace = (name: string) =>
  Effect.acquireRelease(run("ip", "netns", "add", name), () => Effect.ignore(remove(name))).pipe(
    Effect.andThen(run("ip", "-n", name, "link", "set", "dev", "lo", "up")),
    Effect.as(name)
  )

/** Removes a namespace, and ends what runs in it: else it would live on without a name. */
const remove = Effect.fnUntraced(function* (name: string) {
  const pids = yield* run("ip", "netns", "pids", name)
  for (const pid of pids.split("\n").filter(Boolean)) {
    yield* Effect.ignore(Effect.try(() => process.kill(Number(pid), "SIGKILL")))
  }
  yield* run("ip", "netns", "delete", name)
})

const removeLeftovers = Effect.suspend(() =>
  Effect.forEach(namespaces().filter(isLeftover), (name) => Effect.ignore(remove(name)), { discard: true })
)

/** Whether the process that made it is gone. */
const isLeftover = (name: string) => {
  const pid = new RegExp(`^${PREFIX}-(\\d+)-`).exec(name)?.[1]
  if (pid === undefined) return false
  try {
    process.kill(Number(pid), 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH"
  }
}

const prefixOf = (pid: number) => `${PREFIX}-${pid}-`

/** Where `ip netns` keeps its names. */
const namespaces = (): ReadonlyArray<string> => {
  try {
    return readdirSync("/run/netns")
  } catch {
    return []
  }
}

const run = (program: string, ...args: ReadonlyArray<string>): Effect.Effect<string, LabFailed> =>
  Effect.callback((resume) => {
    const child = execFile(program, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      const command = [program, ...args].join(" ")
      resume(
        error === null ? Effect.succeed(stdout) : new LabFailed({ command, detail: stderr.trim() || error.message })
      )
    })
    return Effect.sync(() => child.kill("SIGKILL"))
  })
