import { layer } from "../../src/transport/tcp/Tcp.ts"
import { transportCompliance } from "../compliance/transport.ts"
import { slowLink } from "./slowLink.ts"

for (const opener of ["dialer", "listener"] as const) {
  transportCompliance(`Tcp, opened by the ${opener}`, { layer, link: slowLink, dialsFromItsPort: false, opener })
}
