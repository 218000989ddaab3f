/**
 * A bad link between two hosts of a lab, beside the good ones: each gets a `tun` interface, whose packets a process on a
 * third host delays, drops and holds back. `socat` makes datagrams of the packets.
 *
 *     left tun0 10.99.0.1 ── socat ── link on middle ── socat ── 10.99.0.2 tun0 right
 */
import { join } from "node:path"
import { Effect } from "effect"
import { startProgram } from "../cli/Process.ts"
import type { Host } from "./Lab.ts"
import type { WayQuality } from "./lateWay.ts"

const PORTS = { left: 5_000, right: 5_001 }
const ADDRESSES = { left: "10.99.0.1", right: "10.99.0.2" }
/** So that a packet of 1,350 bytes of QUIC fits, and the datagram around it as well. */
const MTU = 1_400

/** Joins left and right by a bad link, the same each way, and by nothing else: their addresses on it. */
export const makeBadLink = Effect.fnUntraced(function* (
  { left, right, middle }: { readonly left: Host; readonly right: Host; readonly middle: Host },
  { delayMillis, loss, megabits }: WayQuality
) {
  const script = join(import.meta.dirname, "link.ts")
  const args = [PORTS.left, PORTS.right, delayMillis, loss, megabits].map(String)
  const link = yield* startProgram([...middle.inside, process.execPath, script, ...args], import.meta.dirname)
  yield* link.says("ready")
  yield* left.exec("ip", "route", "add", "blackhole", right.address)
  yield* right.exec("ip", "route", "add", "blackhole", left.address)
  for (const [name, host] of Object.entries({ left, right }) as ReadonlyArray<["left" | "right", Host]>) {
    const tun = `TUN:${ADDRESSES[name]}/24,tun-name=tun0,iff-up,iff-no-pi`
    const datagrams = `UDP4:${middle.address}:${PORTS[name]},sndbuf=4000000,rcvbuf=4000000`
    const socat = yield* startProgram(
      [...host.inside, "socat", "-b", "2000", "-dd", tun, datagrams],
      import.meta.dirname
    )
    yield* socat.says("starting data transfer loop")
    yield* host.exec("ip", "link", "set", "dev", "tun0", "mtu", String(MTU))
  }
  return ADDRESSES
})
