/** Who a remote peer is: what its certificates say, whatever control calls it. */
import { certificateKey } from "../certs/certificateKey.ts"
import type { Peer, RemotePeer } from "../protocol/ClientControl.ts"

/** The same for as long as the process of the peer runs, also after a restart of control. */
export const peerKey = ({ peer }: RemotePeer): string =>
  `${certificateKey(peer.clientCertificate)} ${certificateKey(peer.serverCertificate)}`

/** What each peer of a list announces, by its key; worked out when it is asked for, and once for each list. */
export const announcements = (
  list: () => ReadonlyArray<RemotePeer> | undefined
): ((peerKey: string) => Peer | undefined) => {
  let read: ReadonlyArray<RemotePeer> | undefined
  let peers = new Map<string, Peer>()
  return (key) => {
    const latest = list()
    if (latest !== read) {
      read = latest
      peers = new Map(latest?.map((remote) => [peerKey(remote), remote.peer]))
    }
    return peers.get(key)
  }
}
