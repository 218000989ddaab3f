import { layer } from "../../src/transport/quic/Quic.ts"
import { transportCompliance } from "../compliance/transport.ts"
import { lossyLink } from "./lossyLink.ts"

transportCompliance("Quic", { layer, link: lossyLink })
