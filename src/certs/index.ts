/** Certificates: issued in memory, loaded from files, named by their keys. */
export { type Authority, makeAuthority, type ServerNames, type Validity } from "./Authority.ts"
export { CertsError } from "./CertsError.ts"
export { certificateKey } from "./certificateKey.ts"
export type { Identity } from "./Identity.ts"
export { issueClient, issueServer } from "./issue.ts"
export { loadAuthorities, loadIdentity } from "./load.ts"
export { realmName } from "./realmName.ts"
