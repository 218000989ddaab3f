/** From what connet wants of a connection to quiche's configuration. */
import { getCACertificates } from "node:tls"
import { Redacted } from "effect"
import type { Identity } from "../../../certs/Identity.ts"
import type { CongestionControl } from "../../../domain/CongestionControl.ts"
import type { Trust } from "../../Trust.ts"
import { type Credit, PACKET_BYTES, RECEIVE_PACKET_BYTES } from "./limits.ts"
import type { Native, NativeConfig } from "./native.ts"

export interface ConfigOptions {
  readonly protocols: ReadonlyArray<string>
  readonly identity: Identity | undefined
  readonly trust: Trust
  readonly credit: Credit
  readonly congestionControl: CongestionControl
  readonly idleTimeoutMillis: number
}

/** BoringSSL leaves ed25519 out unless it is named, and every certificate that connet issues is ed25519. */
const SIGNATURE_ALGORITHMS = [
  "ed25519",
  "ecdsa_secp256r1_sha256",
  "ecdsa_secp384r1_sha384",
  "rsa_pss_rsae_sha256",
  "rsa_pss_rsae_sha384",
  "rsa_pss_rsae_sha512",
  "rsa_pkcs1_sha256"
].join(":")

/**
 * Chains to authorities are verified by BoringSSL. Any other certificate is only demanded here, and compared
 * once the handshake has proved the possession of its key: a leaf is no authority for BoringSSL.
 */
export const nativeConfig = (native: Native, options: ConfigOptions): NativeConfig => {
  const { identity, trust, credit } = options
  const pem = (text: string) => [Buffer.from(text)]
  const config = native.Config.withBoringSslCtx(
    trust._tag !== "Anyone",
    trust._tag !== "Authorities",
    trust._tag === "Authorities" ? Buffer.from((trust.roots ?? getCACertificates("default")).join("\n")) : null,
    identity === undefined ? null : pem(Redacted.value(identity.privateKeyPem)),
    identity === undefined ? null : pem(identity.certificatePem),
    SIGNATURE_ALGORITHMS
  )
  config.setApplicationProtos([...options.protocols])
  config.setMaxIdleTimeout(options.idleTimeoutMillis)
  config.setMaxRecvUdpPayloadSize(RECEIVE_PACKET_BYTES)
  config.setMaxSendUdpPayloadSize(PACKET_BYTES)
  config.setInitialMaxData(credit.connectionBytes)
  config.setMaxConnectionWindow(Math.max(credit.connectionBytes, credit.maxStreamBytes))
  config.setInitialMaxStreamDataBidiLocal(credit.streamBytes)
  config.setInitialMaxStreamDataBidiRemote(credit.streamBytes)
  config.setMaxStreamWindow(credit.maxStreamBytes)
  config.setInitialMaxStreamsBidi(credit.streams)
  config.setInitialMaxStreamsUni(0)
  config.setActiveConnectionIdLimit(4)
  config.setCcAlgorithmName(options.congestionControl)
  config.enablePacing(false)
  return config
}
