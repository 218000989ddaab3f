/**
 * The key of a client who has none configured: made when it starts for the first time at its address, and kept where caches
 * are. Only convenience hangs on it, so a system without such a folder is no error; a folder that was named must be one.
 */
import { randomBytes } from "node:crypto"
import { mkdir, readFile } from "node:fs/promises"
import { isAbsolute, join } from "node:path"
import { Config, Effect, Result } from "effect"
import { ConfigError, ValueInvalid } from "../config/ConfigError.ts"
import type { HostPort } from "../config/HostPort.ts"
import { RESET_KEY_BYTES, redactedKey } from "../config/resetKey.ts"
import * as SocketAddress from "../domain/SocketAddress.ts"
import { replaceFile } from "../internal/replaceFile.ts"

/** Undefined where there is no folder for it. */
export const lastingResetKey = Effect.fnUntraced(function* (directAddress: HostPort) {
  const folder = yield* cacheFolder
  if (folder === undefined) return yield* forgotten
  const file = join(folder.path, resetKeyFile(directAddress))
  const refused = (detail: string) =>
    new ConfigError({ reasons: [new ValueInvalid({ origin: file, key: folder.variable, detail })] })
  const read = yield* Effect.result(Effect.tryPromise({ try: () => readOrMake(file), catch: codeOf }))
  if (Result.isFailure(read)) {
    if (!folder.named) return yield* forgotten
    return yield* refused(
      `the key for stateless resets cannot be kept there (${read.failure}); name a folder that can be written`
    )
  }
  const bytes = read.success
  if (bytes.length < RESET_KEY_BYTES) {
    return yield* refused(
      `the file has ${bytes.length} bytes, and a key has ${RESET_KEY_BYTES}; remove it to get a new one`
    )
  }
  return redactedKey(bytes.subarray(0, RESET_KEY_BYTES))
})

const forgotten = Effect.as(
  Effect.logInfo("state.forgotten").pipe(
    Effect.annotateLogs({ hint: "after a restart peers are not told at once: set CONNET_CACHE_DIR to a folder" })
  ),
  undefined
)

const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? String(error)

/** The name of the file, which tells clients of one machine apart. */
export const resetKeyFile = (address: HostPort): string =>
  `stateless-reset-${SocketAddress.format(address).replaceAll(":", "-").replace(/^-/, "")}.key`

const readOrMake = async (file: string): Promise<Uint8Array> => {
  try {
    return await readFile(file)
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error
    const bytes = randomBytes(RESET_KEY_BYTES)
    await replaceFile(file, bytes)
    return bytes
  }
}

/** The folder that the environment names, else `connet` in that of the user, which is made where there are caches at all. */
const cacheFolder = Effect.gen(function* () {
  for (const variable of ["CONNET_CACHE_DIR", "CACHE_DIRECTORY"]) {
    const path = yield* textOf(variable)
    if (path !== "") return { variable, path, named: true }
  }
  const home = yield* textOf("HOME")
  const caches = (yield* textOf("XDG_CACHE_HOME")) || (home && join(home, ".cache"))
  if (!isAbsolute(caches)) return undefined
  const path = join(caches, "connet")
  const made = yield* Effect.promise(() =>
    mkdir(path, { mode: 0o700 }).then(
      () => true,
      (error) => codeOf(error) === "EEXIST"
    )
  )
  return made ? { variable: "XDG_CACHE_HOME", path, named: false } : undefined
})

const textOf = (variable: string) => Effect.orElseSucceed(Config.String(variable), () => "")
