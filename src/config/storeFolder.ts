import { join } from "node:path"
import { Config, Effect } from "effect"
import { ConfigError, ValueMissing } from "./ConfigError.ts"

/**
 * The folder for what a server keeps across restarts: the configured one, else that of the environment
 * (`CONNET_STATE_DIR`, then systemd's `STATE_DIRECTORY`), else undefined, and nothing is kept.
 */
export const storeFolder = Effect.fnUntraced(function* (configured: string | undefined) {
  return configured || (yield* variable("CONNET_STATE_DIR")) || (yield* variable("STATE_DIRECTORY")) || undefined
})

/** The folder of this user for what must be kept: below `XDG_STATE_HOME`, else `~/.local/state`. */
export const userStateFolder = Effect.fnUntraced(function* (role: "server") {
  const home = yield* variable("HOME")
  const base = (yield* variable("XDG_STATE_HOME")) || (home && join(home, ".local", "state"))
  if (base !== "") return join(base, "connet", role)
  const detail = "the server keeps its certificate there, and there is no HOME to keep it in; name a folder"
  return yield* new ConfigError({ reasons: [new ValueMissing({ key: `${role}.store-dir`, detail })] })
})

const variable = (name: string) => Effect.orElseSucceed(Config.String(name), () => "")
