/** Which scheme two ends use on a relayed stream. Pure. */
import type { Encryption } from "../../domain/Encryption.ts"

const BEST_FIRST: ReadonlyArray<Encryption> = ["tls", "dhxcp", "none"]

/** The best scheme that both allow, or undefined. Who offers nothing means none. */
export const strongest = (
  offered: ReadonlyArray<Encryption>,
  allowed: ReadonlyArray<Encryption>
): Encryption | undefined => {
  const both = offered.length === 0 ? ["none"] : offered
  return BEST_FIRST.find((scheme) => both.includes(scheme) && allowed.includes(scheme))
}
