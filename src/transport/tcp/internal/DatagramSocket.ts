/** The UDP socket beside a TCP port: raw datagrams only. */
import dgram from "node:dgram"
import * as SocketAddress from "../../../domain/SocketAddress.ts"
import type { Datagram } from "../../Transport.ts"
import { DATAGRAM_QUEUE } from "./limits.ts"

export class DatagramSocket {
  readonly #udp: dgram.Socket
  readonly #dualStack: boolean
  readonly #waiting: Array<Datagram> = []
  #arrived: (() => void) | undefined

  private constructor(udp: dgram.Socket, dualStack: boolean) {
    this.#udp = udp
    this.#dualStack = dualStack
    udp.on("error", () => {})
    udp.on("message", (bytes, { address, port }) => {
      if (this.#waiting.length >= DATAGRAM_QUEUE) this.#waiting.shift()
      this.#waiting.push({ from: { host: SocketAddress.unmapped(address), port }, bytes })
      this.#arrived?.()
    })
  }

  /** Rejects with the system's error. */
  static bind(
    { host, port }: SocketAddress.SocketAddress,
    { receiveBufferBytes, sendBufferBytes }: { readonly receiveBufferBytes?: number; readonly sendBufferBytes?: number }
  ): Promise<DatagramSocket> {
    return new Promise((resolve, reject) => {
      const dualStack = host.includes(":")
      const udp = dgram.createSocket({
        type: dualStack ? "udp6" : "udp4",
        ...(receiveBufferBytes !== undefined && { recvBufferSize: receiveBufferBytes }),
        ...(sendBufferBytes !== undefined && { sendBufferSize: sendBufferBytes }),
        // Every address is a literal; so a buffer that the system refuses is an error here, and not one of nobody.
        lookup: (literal, _options, found) => found(null, literal, dualStack ? 6 : 4)
      })
      udp.once("error", (error) => {
        udp.close()
        reject(error)
      })
      udp.bind(port, host, () => {
        udp.removeAllListeners("error")
        resolve(new DatagramSocket(udp, dualStack))
      })
    })
  }

  send(to: SocketAddress.SocketAddress, bytes: Uint8Array): void {
    const host = this.#dualStack && !to.host.includes(":") ? `::ffff:${to.host}` : to.host
    // What cannot be sent is lost, like any datagram.
    this.#udp.send(bytes, to.port, host, () => {})
  }

  /** Calls back with the next one. The result withdraws the wish. */
  receive(received: (datagram: Datagram) => void): () => void {
    const take = () => {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#arrived = undefined
      received(next)
    }
    this.#arrived = take
    take()
    return () => {
      if (this.#arrived === take) this.#arrived = undefined
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#udp.close(() => resolve()))
  }
}
