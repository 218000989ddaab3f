import { Config, Effect } from "effect"

/**
 * The folder for what a server keeps across restarts: the configured one, else that of the environment
 * (`CONNET_STATE_DIR`, then systemd's `STATE_DIRECTORY`), else undefined, and nothing is kept.
 */
export const storeFolder = Effect.fnUntraced(function* (configured: string | undefined) {
  return configured || (yield* variable("CONNET_STATE_DIR")) || (yield* variable("STATE_DIRECTORY")) || undefined
})

const variable = (name: string) => Effect.orElseSucceed(Config.String(name), () => "")
