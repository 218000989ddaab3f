/** Who a remote peer is: what its certificates say, whatever control calls it. */
import { certificateKey } from "../certs/certificateKey.ts"
import type { RemotePeer } from "../protocol/ClientControl.ts"

/** The same for as long as the process of the peer runs, also after a restart of control. */
export const peerKey = ({ peer }: RemotePeer): string =>
  `${certificateKey(peer.clientCertificate)} ${certificateKey(peer.serverCertificate)}`
