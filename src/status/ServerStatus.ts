import { Schema } from "effect"
import type { ControlSnapshot } from "../directory/server/ControlServer.ts"
import type { RelaySnapshot } from "../relay/server/RelayServer.ts"
import { ControlStatus, controlStatus } from "./ControlStatus.ts"
import { RelayStatus, relayStatus } from "./RelayStatus.ts"

/** What a control server and the relay beside it tell of themselves. */
export const ServerStatus = Schema.Struct({ control: ControlStatus, relay: RelayStatus })

export type ServerStatus = typeof ServerStatus.Type

/** The status of a server of this version. */
export const serverStatus = (
  buildVersion: string,
  { control, relay }: { readonly control: ControlSnapshot; readonly relay: RelaySnapshot }
): ServerStatus => ({ control: controlStatus(buildVersion, control), relay: relayStatus(buildVersion, relay) })
