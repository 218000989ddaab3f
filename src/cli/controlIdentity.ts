import { Effect } from "effect"
import { loadControlIdentity, makeControlIdentity } from "../directory/server/ControlIdentity.ts"

/** Who the control server is: as its folder says, else somebody new, which a relay or client that comes back will notice. */
export const controlIdentity = (table: "server" | "control", folder: string | undefined) =>
  folder === undefined
    ? Effect.as(
        Effect.logInfo("state.forgotten").pipe(
          Effect.annotateLogs({ hint: `nothing is kept across restarts: set ${table}.store-dir` })
        ),
        makeControlIdentity()
      )
    : loadControlIdentity(folder)
