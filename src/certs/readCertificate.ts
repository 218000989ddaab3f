import { X509Certificate } from "node:crypto"
import { onceFor } from "../internal/onceFor.ts"

/** A certificate from its DER, which must not change: the same array is read once. Throws when it is none. */
export const readCertificate = onceFor((der: Uint8Array) => new X509Certificate(der))
