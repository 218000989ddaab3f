/**
 * The application protocols (RFC 7301) of each link, newest first. The older name of a link means the same messages with
 * longer frame prefixes. Mind that `connet-relay/0.3` is two protocols, depending on which listener it reaches.
 */
export const Alpn = {
  control: ["connet-control/0.4", "connet-client/0.3"],
  registration: ["connet-control-relays/0.4", "connet-relay/0.3"],
  relay: ["connet-relay/0.3", "connet-peer-relay/0.2"],
  direct: ["connet-peer/0.2", "connet-peer/0.1"]
} as const

/** A kind of connection. */
export type Link = keyof typeof Alpn

/** Bytes of the length before each message. */
export type FrameWidth = 4 | 8

/** What the protocol that was agreed on means for the frames of a link. */
export const frameWidth = (link: Link, protocol: string): FrameWidth => (protocol === Alpn[link][0] ? 4 : 8)
