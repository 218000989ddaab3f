import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dialedUplink, guessed, parseBsd, parseLinux, parseWindows } from "../../../src/peer/natpmp/Uplink.ts"

describe("the default route", () => {
  const header = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
  const route = (name: string, gateway: string, flags: string, metric: number, destination = "00000000") =>
    `${name}\t${destination}\t${gateway}\t${flags}\t0\t0\t${metric}\t${destination.replace(/[1-9A-F]+/g, "FF")}\t0\t0\t0\n`

  it("of Linux is the one with the lowest metric that is up and has a gateway", () => {
    const table = [
      header,
      route("tun0", "00000000", "0001", 1),
      route("eth1", "FE01A8C0", "0002", 2),
      route("wlan0", "FE02A8C0", "0003", 600),
      route("eth0", "0101A8C0", "0003", 100),
      route("eth0", "00000000", "0001", 100, "0001A8C0")
    ].join("")
    assert.deepStrictEqual(parseLinux(table), { interfaceName: "eth0", gateway: "192.168.1.1" })
  })

  it("of Linux is not there without a route that leads anywhere", () => {
    assert.isUndefined(parseLinux(header))
    assert.isUndefined(parseLinux(""))
    assert.isUndefined(parseLinux(header + route("eth0", "0101A8C0", "0003", 0, "000000C0")))
  })

  it("of macOS has a gateway and an interface", () => {
    const text = `   route to: default
destination: default
       mask: default
    gateway: 192.168.178.1
  interface: en0
      flags: <UP,GATEWAY,DONE,STATIC,PRCLONING,GLOBAL>
 recvpipe  sendpipe  ssthresh  rtt,msec    rttvar  hopcount      mtu     expire
       0         0         0         0         0         0      1500         0
`
    assert.deepStrictEqual(parseBsd(text), { gateway: "192.168.178.1", interfaceName: "en0" })
    assert.isUndefined(parseBsd(text.replace(/.*gateway.*\n/, "")))
    assert.isUndefined(parseBsd(""))
  })

  it("of Windows is the one with the lowest metric, in any language", () => {
    const text = `===========================================================================
IPv4-Routentabelle
===========================================================================
Aktive Routen:
     Netzwerkziel    Netzwerkmaske          Gateway    Schnittstelle Metrik
          0.0.0.0          0.0.0.0      10.0.0.138       10.0.0.20     45
          0.0.0.0          0.0.0.0    192.168.1.1     192.168.1.23     25\r
          0.0.0.0        128.0.0.0      10.8.0.1         10.8.0.2      5
          0.0.0.0          0.0.0.0   Auf Verbindung       10.9.0.2      1
===========================================================================
`
    assert.deepStrictEqual(parseWindows(text), { gateway: "192.168.1.1", address: "192.168.1.23" })
    assert.isUndefined(parseWindows(""))
  })
})

describe("the guess from an address", () => {
  for (const address of ["10.1.2.3", "172.16.0.9", "172.31.255.9", "192.168.1.23", "100.64.0.2"]) {
    it(`is the first address of the network of ${address}`, () => {
      const host = `${address.split(".").slice(0, 3).join(".")}.1`
      assert.deepStrictEqual(guessed(address), { address, gateway: { host, port: 5351 } })
    })
  }

  for (const address of [
    "203.0.113.5",
    "172.32.0.9",
    "100.128.0.2",
    "169.254.1.2",
    "127.0.0.1",
    "fd00::2",
    undefined
  ]) {
    it(`is none for ${address ?? "no address"}`, () => {
      assert.isUndefined(guessed(address))
    })
  }

  it("is none for the router itself", () => {
    assert.isUndefined(guessed("192.168.1.1"))
  })

  it.live("is none for a server on this machine, as the default one", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* dialedUplink({ host: "127.0.0.1", port: 19_190 }))
      assert.isUndefined(yield* dialedUplink({ host: "::1", port: 19_190 }))
      assert.isUndefined(yield* dialedUplink({ host: "localhost", port: 19_190 }))
    })
  )

  it.live("leaves no socket behind, whether there is a way or none", () =>
    Effect.gen(function* () {
      for (const host of ["127.0.0.1", "::1", "127.0.0.1"]) yield* dialedUplink({ host, port: 19_190 })
      const isOpen = () => process.getActiveResourcesInfo().includes("UDPWrap")
      // A handle is closed some turns after its socket.
      yield* Effect.promise(async () => {
        for (let turn = 0; turn < 10 && isOpen(); turn++) await setImmediate()
      })
      assert.isFalse(isOpen())
    })
  )
})
